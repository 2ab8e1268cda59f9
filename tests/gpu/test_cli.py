"""`python -m gpu`: an export without a service."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.gpu.run_pipeline import STILL, attempt_spec
from tests.support.videos import Video, dot, frame_times, write_video

DOT = Video(draw=lambda _: dot(160, 90), times=frame_times(0.5))


def run(spec: str, folder: Path) -> tuple[int, list[dict[str, Any]], str]:
    """Run the command; return the exit status, the objects on standard output, and standard error."""
    ran = subprocess.run(
        [sys.executable, "-m", "gpu", "-"],
        input=spec,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"TMPDIR": str(folder)},
    )
    return ran.returncode, [json.loads(line) for line in ran.stdout.splitlines()], ran.stderr


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_video(tmp_path / "source.mp4", DOT)


def test_ticks_come_first_and_the_output_last(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "output.mp4"
    status, said, _ = run(
        attempt_spec(source, output, keyframes=STILL).model_dump_json(by_alias=True), tmp_path
    )
    assert status == 0
    assert [tick["phase"] for tick in said[:2]] == ["starting", "downloading"]
    assert said[-1]["output"]["size"] == output.stat().st_size
    assert sorted(path.name for path in tmp_path.iterdir()) == ["output.mp4", "source.mp4"]


def test_a_failure_is_said_with_its_code(tmp_path: Path) -> None:
    spec = attempt_spec(tmp_path / "nowhere.mp4", tmp_path / "output.mp4", keyframes=STILL)
    status, said, _ = run(spec.model_dump_json(by_alias=True), tmp_path)
    assert (status, said[-1]["error"]["code"]) == (1, "source_missing")


def test_a_spec_that_cannot_be_read_is_said_so(tmp_path: Path) -> None:
    status, said, complaint = run('{"job_id": "job"}', tmp_path)
    assert (status, said) == (2, [])
    assert "attempt" in complaint


def test_an_end_from_outside_leaves_nothing(tmp_path: Path) -> None:
    source = write_video(tmp_path / "long.mp4", replace(DOT, times=frame_times(20)))
    spec = tmp_path / "spec.json"
    slow = attempt_spec(source, tmp_path / "output.mp4", keyframes=STILL, quality="high", codec="hevc")
    spec.write_text(slow.model_dump_json(by_alias=True))
    with subprocess.Popen(
        [sys.executable, "-m", "gpu", str(spec)],
        stdout=subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    ) as process:
        assert process.stdout is not None
        while b"processing" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
    assert process.returncode == 128 + signal.SIGTERM
    assert sorted(path.name for path in tmp_path.iterdir()) == ["long.mp4", "spec.json"]
