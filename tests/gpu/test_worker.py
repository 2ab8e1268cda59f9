"""The worker as the service starts it: a process that reads a spec from standard input and reports over HTTP."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from callbacks.envelope import EventType, decode
from tests.callbacks.scripted_server import ReceivedCallback, Receiver, ScriptedResponse, receiver
from tests.gpu.worker_process import list_leftovers, start_worker, wait_exit
from tests.support.videos import Video, dot, frame_times, write_video

ENDLESS: dict[str, Any] = {"output_width": 4096, "output_height": 2304, "quality": "draft", "fps": 240}


@pytest.fixture
def service() -> Iterator[Receiver]:
    with receiver() as listening:
        yield listening


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_video(tmp_path / "source.mp4", Video(draw=lambda _: dot(160, 90), times=frame_times(1)))


def last(service: Receiver) -> ReceivedCallback:
    return service.take_all()[-1]


def test_a_run_reports_from_start_to_end(service: Receiver, source: Path) -> None:
    status, said = wait_exit(start_worker(service, source))
    callbacks = [received.callback for received in service.take_all()]
    assert status == 0
    assert (callbacks[0].type, callbacks[-1].type) == (EventType.STARTED, EventType.COMPLETED)
    assert [callback.data.step for callback in callbacks] == list(range(1, len(callbacks) + 1))
    output = callbacks[-1].data.output
    assert output is not None
    assert json.loads(said)["output"]["checksum"] == output.checksum
    assert list_leftovers(source) == ["output.mp4", "scratch"]


def test_a_failure_is_told_with_its_code(service: Receiver, source: Path) -> None:
    source.write_bytes(b"nothing that could be decoded")
    status, said = wait_exit(start_worker(service, source))
    error = last(service).callback.data.error
    assert error is not None
    assert (status, error.code, error.transient) == (0, "source_unreadable", False)
    assert json.loads(said)["error"]["code"] == error.code
    assert list_leftovers(source) == ["scratch"]


@pytest.mark.parametrize("answer", [200, 503], ids=["while it encodes", "while it can't report"])
def test_a_run_whose_service_is_gone_ends_at_once_and_leaves_nothing(
    service: Receiver, source: Path, answer: int
) -> None:
    service.script(*[answer] * 1_000)
    process = start_worker(service, source, end_with_stdin=True, **ENDLESS)
    service.take()
    assert process.stdin is not None
    process.stdin.close()
    assert wait_exit(process) == (143, "")
    assert list_leftovers(source) == []


def test_a_run_whose_service_dies_before_the_spec_is_written_leaves_nothing(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    for number in range(5_000):  # so many that the signal arrives while they are removed
        (scratch / str(number)).touch()
    command = [sys.executable, "-m", "gpu.worker", "--end-with-stdin", "--scratch", str(scratch)]
    assert subprocess.run(command, input=b'{"job_id": "jo', check=False, timeout=60).returncode != 0
    assert not scratch.exists()


def test_a_run_that_is_not_wanted_ends_in_silence(service: Receiver, source: Path) -> None:
    service.script(200, 410)
    status, said = wait_exit(start_worker(service, source, **ENDLESS))
    assert (status, json.loads(said)["stopped"]) == (0, True)
    assert EventType.FAILED not in {received.callback.type for received in service.take_all()}
    assert list_leftovers(source) == ["scratch"]


def test_an_output_that_is_no_longer_wanted_is_removed(
    service: Receiver, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = service.answer

    def cancel_last_report(path: str, headers: Mapping[str, str], raw: bytes) -> ScriptedResponse:
        answer = stored(path, headers, raw)
        return ScriptedResponse(410) if decode(raw).type is EventType.COMPLETED else answer

    monkeypatch.setattr(service, "answer", cancel_last_report)
    status, said = wait_exit(start_worker(service, source))
    assert (status, json.loads(said)["stopped"]) == (0, True)
    assert last(service).callback.type is EventType.COMPLETED
    assert list_leftovers(source) == ["scratch"]


def test_a_terminated_run_leaves_nothing(service: Receiver, source: Path) -> None:
    process = start_worker(service, source, **ENDLESS)
    while service.take().callback.data.progress <= 5:
        pass
    process.terminate()
    assert wait_exit(process) == (143, "")
    assert list_leftovers(source) == ["scratch"]


def test_a_run_that_takes_too_long_says_so_and_ends(service: Receiver, source: Path) -> None:
    status, _ = wait_exit(start_worker(service, source, deadline_seconds=2.0, **ENDLESS))
    error = last(service).callback.data.error
    assert error is not None
    assert (status, error.code) == (124, "deadline_exceeded")
    assert list_leftovers(source) == ["scratch"]


def test_a_service_that_comes_back_is_told(service: Receiver, source: Path) -> None:
    service.script(503, 503)
    status, _ = wait_exit(start_worker(service, source))
    assert status == 0
    assert last(service).callback.type is EventType.COMPLETED


def test_a_spec_that_can_not_be_read_is_no_attempt() -> None:
    command = [sys.executable, "-m", "gpu.worker"]
    done = subprocess.run(
        command, input='{"callback": {"key": "secret"}}', text=True, capture_output=True, check=False
    )
    assert done.returncode == 2
    assert "secret" not in done.stderr
