"""Outputs that an export type writes itself, through the pipeline: a text file, and what can go wrong."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpu.errors import ExportError
from gpu.export_types.registry import get_export_types, parse_config
from gpu.pipeline import run
from gpu.spec import AttemptSpec, LocalFile, Transfer
from tests.gpu.run_pipeline import run_to_end
from tests.support.videos import Video, dot, frame_times, write_video

MODULE = """
from gpu.config import ExportConfig
from gpu.export_types.base import ExportType, FileOutput

class NoteConfig(ExportConfig):
    text: str
    fails: bool = False

def plan(config, sources):
    def write(path):
        yield 0.5
        if config.fails:
            raise OSError("the disk is gone")
        path.write_text(config.text)
    return FileOutput(write=write, message="Writing the note", notes=("It is short.",))

EXPORT_TYPE = ExportType(
    name="note", description="A note.", config=NoteConfig, plan=plan,
    content_type="text/plain", suffix=".txt", magic=b"note:",
)
"""


@pytest.fixture(autouse=True)
def note_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install a package with the export type `note`."""
    metadata = tmp_path / "site" / "note_type-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata.parent / "note_type.py").write_text(MODULE)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: note-type\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[framehook.export_types]\nnote = note_type:EXPORT_TYPE\n")
    monkeypatch.syspath_prepend(metadata.parent)
    get_export_types.cache_clear()
    yield
    get_export_types.cache_clear()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_video(tmp_path / "source.mp4", Video(lambda _: dot(50, 50), frame_times(0.2)))


def write_note(source: Path, **config: object) -> tuple[Path, list[str], dict[str, object]]:
    """Run the export; return the path of the output, the messages and the description."""
    target = source.with_name("note.txt")
    spec = AttemptSpec(
        job_id="job",
        attempt=1,
        call_id="call",
        type="note",
        config=parse_config("note", {"input_key": "source", **config}),
        transfer=Transfer(
            sources={"source": LocalFile(path=str(source))}, output=LocalFile(path=str(target))
        ),
    )
    progress, output = run_to_end(run(spec, source.with_name("scratch")))
    description = {"size": output.size, "checksum": output.checksum, "width": output.width}
    return target, [step.message for step in progress], description


def test_a_file_without_a_picture_is_written_verified_and_described(source: Path) -> None:
    target, messages, description = write_note(source, text="note: hello")
    checksum = hashlib.sha256(b"note: hello").hexdigest()
    assert target.read_text() == "note: hello"
    assert description == {"size": 11, "checksum": f"sha256:{checksum}", "width": 0}
    assert "Writing the note. It is short." in messages


@pytest.mark.parametrize(
    ("config", "code"),
    [
        pytest.param({"text": "hello"}, "output_invalid", id="other first bytes"),
        pytest.param({"text": ""}, "output_invalid", id="empty"),
        pytest.param({"text": "note:", "fails": True}, "export_failed", id="an error of the system"),
    ],
)
def test_a_file_that_fails_leaves_no_output(source: Path, config: dict[str, object], code: str) -> None:
    with pytest.raises(ExportError) as raised:
        write_note(source, **config)
    assert raised.value.code == code
    assert not source.with_name("note.txt").exists()
    assert not source.with_name("scratch").exists()
