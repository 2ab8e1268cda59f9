"""The scratch folder of a local run is removed, however the run or the service ends."""

import asyncio
import base64
import fcntl
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from callbacks.envelope import EventType, Phase
from gpu.errors import OUT_OF_TIME
from gpu.spec import AttemptSpec, CallbackTarget
from service.dispatch.runners.base import Failed, Running
from service.dispatch.runners.local import LocalRunner
from service.workers.starter import WorkerStarter
from tests.callbacks.scripted_server import KEY, Receiver, receiver
from tests.gpu.run_pipeline import STILL, attempt_spec
from tests.support.videos import Video, dot, frame_times, write_video


@pytest.fixture
def service() -> Iterator[Receiver]:
    with receiver() as listening:
        yield listening


@pytest.fixture
async def runner(starter: WorkerStarter, tmp_path: Path) -> AsyncIterator[LocalRunner]:
    local_runner = LocalRunner(tmp_path / "scratch", 1, starter=starter)
    yield local_runner
    await local_runner.close()


@pytest.fixture
def spec(tmp_path: Path, service: Receiver, runner: LocalRunner) -> AttemptSpec:
    """An export that takes far longer than a test."""
    source = write_video(tmp_path / "source.mp4", Video(draw=lambda _: dot(160, 90), times=frame_times(1)))
    endless = attempt_spec(
        source, tmp_path / "output.mp4", keyframes=STILL, output_width=4096, quality="high", fps=240
    )
    target = CallbackTarget(url=service.url, key=base64.b64encode(KEY).decode())
    return endless.model_copy(update={"call_id": runner.call_id_for("job", 1), "callback": target})


async def start_and_signal(
    runner: LocalRunner, spec: AttemptSpec, service: Receiver, number: signal.Signals
) -> None:
    """Start the run, send it a signal while it encodes, and wait until its capacity is free again."""
    call_id = await runner.spawn(spec)
    while (await asyncio.to_thread(service.take)).callback.data.phase is not Phase.PROCESSING:
        pass
    os.kill(runner._processes[call_id].pid, number)
    await runner.freed.wait()


@pytest.mark.parametrize(
    ("number", "code", "transient"),
    [
        (signal.SIGKILL, "run_lost", True),
        (signal.SIGSEGV, "source_unreadable", False),
        (signal.SIGABRT, "source_unreadable", False),
        (signal.SIGFPE, "source_unreadable", False),
        (signal.SIGBUS, "source_unreadable", False),
        (signal.SIGILL, "source_unreadable", False),
    ],
    ids=lambda value: value.name if isinstance(value, signal.Signals) else "",
)
async def test_a_run_that_dies_leaves_nothing_and_only_one_that_was_killed_is_tried_again(
    runner: LocalRunner,
    spec: AttemptSpec,
    service: Receiver,
    tmp_path: Path,
    number: signal.Signals,
    code: str,
    transient: bool,
) -> None:
    await start_and_signal(runner, spec, service, number)
    assert list((tmp_path / "scratch").iterdir()) == []
    assert not (tmp_path / "output.mp4").exists()
    status = await runner.probe(spec.call_id)
    assert isinstance(status, Failed)
    assert (status.code, status.transient) == (code, transient)


@pytest.mark.parametrize(
    ("number", "interrupted"), [(signal.SIGTERM, True), (signal.SIGKILL, False)], ids=["asked", "killed"]
)
async def test_a_run_that_was_asked_to_end_as_whoever_stops_the_service_does_was_interrupted(
    runner: LocalRunner, spec: AttemptSpec, service: Receiver, number: signal.Signals, interrupted: bool
) -> None:
    await start_and_signal(runner, spec, service, number)
    status = await runner.probe(spec.call_id)
    assert isinstance(status, Failed)
    assert (status.code, status.interrupted) == ("run_lost", interrupted)


async def test_a_run_that_dies_at_once_is_lost_and_frees_its_place(
    runner: LocalRunner, spec: AttemptSpec, tmp_path: Path
) -> None:
    call_id = await runner.spawn(spec)
    assert runner.capacity() == 0
    os.kill(runner._processes[call_id].pid, signal.SIGKILL)
    await runner.freed.wait()
    assert (runner.capacity(), list((tmp_path / "scratch").iterdir())) == (1, [])
    status = await runner.probe(call_id)
    assert isinstance(status, Failed)
    assert status.code == "run_lost"


async def test_a_run_that_is_out_of_time_reports_it_and_leaves_nothing(
    runner: LocalRunner, spec: AttemptSpec, service: Receiver, tmp_path: Path
) -> None:
    await runner.spawn(spec.model_copy(update={"deadline_seconds": 3.0}))
    while (report := (await asyncio.to_thread(service.take)).callback).type is not EventType.FAILED:
        pass
    assert report.data.error == OUT_OF_TIME
    await runner.freed.wait()
    assert list((tmp_path / "scratch").iterdir()) == []


async def test_a_service_that_starts_removes_what_the_dead_left_and_spares_the_living(
    runner: LocalRunner, spec: AttemptSpec, service: Receiver, tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    dead = scratch / "local-earlier-job-1"
    dead.mkdir()
    (dead / "lock").touch()
    (dead / "output.mp4").write_bytes(bytes(1_000))
    await runner.spawn(spec)
    LocalRunner(scratch, 1)
    assert [folder.name for folder in scratch.iterdir()] == [spec.call_id]
    assert isinstance(await runner.probe(spec.call_id), Running)


async def test_a_replica_that_shares_the_folder_knows_whether_anothers_run_lives(
    runner: LocalRunner, spec: AttemptSpec, service: Receiver, tmp_path: Path
) -> None:
    replica = LocalRunner(tmp_path / "scratch", 1)
    await runner.spawn(spec)
    assert isinstance(await replica.probe(spec.call_id), Running)
    await runner.cancel(spec.call_id)
    await runner.freed.wait()
    assert isinstance(await replica.probe(spec.call_id), Failed)


async def test_a_run_outlives_its_service_with_its_scratch(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    living = scratch / "local-earlier-job-2"
    living.mkdir(parents=True)
    with (living / "lock").open("w") as lock:  # as its process inherits it
        fcntl.flock(lock, fcntl.LOCK_EX)
        LocalRunner(scratch, 1)
        assert living.exists()
    LocalRunner(scratch, 1)
    assert not living.exists()


async def test_a_service_that_is_alone_ends_what_an_earlier_one_left_running(
    runner: LocalRunner, spec: AttemptSpec, tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    await runner.spawn(spec)
    LocalRunner(scratch, 1, alone=True)
    assert list(scratch.iterdir()) == []
    await asyncio.wait_for(runner.freed.wait(), 10)
    assert runner.drain_ended() == [spec.call_id]
