"""`framehook sample` writes a video that exports accept, and overwrites no file."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from gpu.sources.source import probe
from service.cli.exports.sample import removal_on_failure
from service.cli.main import app


def test_a_sample_is_a_video_with_sound(tmp_path: Path) -> None:
    path = tmp_path / "sample.mp4"
    assert CliRunner().invoke(app, ["sample", str(path)]).exit_code == 0
    source = probe(str(path))
    assert (source.width, source.height, round(source.duration)) == (1920, 1080, 10)
    assert source.audio_candidates


def test_a_file_that_exists_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "sample.mp4"
    path.write_bytes(b"mine")
    result = CliRunner().invoke(app, ["sample", str(path)])
    assert result.exit_code != 0
    assert "exists already" in result.stderr
    assert path.read_bytes() == b"mine"


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["sample", str(tmp_path / "none" / "sample.mp4")])
    assert result.exit_code != 0
    assert "can't be written" in result.stderr


def test_a_sample_that_can_not_be_written_whole_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "sample.mp4"

    def write_half() -> None:
        with removal_on_failure(path):
            path.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert not path.exists()
