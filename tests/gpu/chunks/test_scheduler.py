"""Tests of the processes that encode chunks: if one fails all end, and none is left behind."""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from callbacks.envelope import EventType
from gpu.chunks import plan
from gpu.chunks.__main__ import memory_bytes
from gpu.chunks.process_worker import ProcessWorker, ProcessWorkerPool
from gpu.chunks.workers import ChunkWorker
from gpu.config import Codec, Quality
from gpu.errors import ExportError
from gpu.media import encoders
from gpu.memory import total_memory_bytes
from gpu.pipeline import run
from gpu.sources.source import probe
from gpu.spec import CallbackTarget, RemoteUpload
from tests.callbacks.scripted_server import receiver
from tests.gpu.chunks import chunk_comparison
from tests.gpu.chunks.chunk_comparison import (
    ENDLESS,
    STILL,
    DecodedVideo,
    beat,
    chunk_processes,
    export_split,
    open_handles,
    pattern,
)
from tests.gpu.run_pipeline import attempt_spec, run_to_end
from tests.gpu.worker_process import list_leftovers, start_worker, wait_exit
from tests.support.videos import Video, frame_times, write_video

pytestmark = pytest.mark.skipif(encoders.count_cores() < 2, reason="chunks need several cores")


def test_an_order_of_any_length_is_taken(tmp_path: Path) -> None:
    keyframes = [STILL[0] | {"time": number / 1_000} for number in range(5_000)]
    joined, _ = export_split(beat(tmp_path / "source.mp4"), 2, keyframes=keyframes)
    assert len(DecodedVideo.of(joined).times) == chunk_comparison.SECONDS * 30


def test_together_the_pieces_leave_the_machine_some_memory(tmp_path: Path) -> None:
    source = beat(tmp_path / "source.mp4")
    spec = attempt_spec(source, tmp_path / "output.mp4", keyframes=STILL)
    encoder = encoders.select_encoder(Codec.H264, Quality.DRAFT, 64, 64)
    cut = [range(60), range(60, 120), range(120, 180)]
    ordered = plan.chunk_specs(spec, {"source": probe(str(source))}, encoder, cut, tmp_path, len(cut))
    assert sum(map(memory_bytes, ordered)) <= 0.75 * total_memory_bytes()


def test_whoever_makes_a_piece_learns_no_key(tmp_path: Path) -> None:
    source = beat(tmp_path / "source.mp4")
    spec = attempt_spec(source, tmp_path / "output.mp4", keyframes=STILL)
    upload = RemoteUpload(url="http://127.0.0.1/parts", key="c2VjcmV0", attempt=1)
    callback = CallbackTarget(url="http://127.0.0.1/callbacks", key="c2VjcmV0")
    spec = spec.model_copy(
        update={"callback": callback, "transfer": spec.transfer.model_copy(update={"output": upload})}
    )
    encoder = encoders.select_encoder(Codec.H264, Quality.DRAFT, 64, 64)
    ordered = plan.chunk_specs(
        spec, {"source": probe(str(source))}, encoder, [range(60), range(60, 120)], tmp_path, 2
    )
    assert not [chunk for chunk in ordered if "c2VjcmV0" in chunk.model_dump_json()]


def test_a_piece_that_fails_ends_the_export_with_its_error(tmp_path: Path) -> None:
    layout = (("movflags", "faststart"),)
    source = write_video(
        tmp_path / "source.mp4",
        Video(pattern, frame_times(chunk_comparison.SECONDS), container_options=layout),
    )
    source.write_bytes(source.read_bytes()[: source.stat().st_size * 2 // 3])
    caught = []
    for count in (1, 3):
        with pytest.raises(ExportError) as failure:
            export_split(source, count, keyframes=STILL)
        caught.append((failure.value.code, failure.value.message, failure.value.transient))
    assert caught[0][0] == "source_truncated"
    assert caught[1] == caught[0]
    assert (list(tmp_path.iterdir()), chunk_processes()) == ([source], [])


@pytest.mark.parametrize(
    ("number", "ending"),
    [(signal.SIGKILL, ("piece_lost", True)), (signal.SIGSEGV, ("source_unreadable", False))],
    ids=["killed", "crashed"],
)
def test_a_piece_whose_process_dies_ends_the_export_and_the_other_pieces(
    tmp_path: Path, number: signal.Signals, ending: tuple[str, bool]
) -> None:
    source = beat(tmp_path / "source.mp4")
    working = run(attempt_spec(source, tmp_path / "output.mp4", **ENDLESS), tmp_path / "scratch")
    while next(working).progress <= 5:
        pass
    with open_handles(chunk_processes()) as processes:
        assert len(processes) == 3
        os.kill(chunk_processes()[1], number)
        with pytest.raises(ExportError) as caught:
            list(working)
        assert (caught.value.code, caught.value.transient) == ending
        assert chunk_comparison.have_ended(processes, 0)
    assert (list(tmp_path.iterdir()), chunk_processes()) == ([source], [])


def test_a_closed_generator_stops_the_pieces(tmp_path: Path) -> None:
    source = beat(tmp_path / "source.mp4")
    working = run(attempt_spec(source, tmp_path / "output.mp4", **ENDLESS), tmp_path / "scratch")
    while next(working).progress <= 5:
        pass
    working.close()
    assert (list(tmp_path.iterdir()), chunk_processes()) == ([source], [])


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)], ids=["terminated", "killed"]
)
def test_a_worker_that_ends_leaves_no_process(tmp_path: Path, number: signal.Signals, status: int) -> None:
    source = beat(tmp_path / "source.mp4")
    with receiver() as service:
        worker = start_worker(service, source, **ENDLESS)
        while service.take().callback.data.progress <= 5:
            pass
        with open_handles(chunk_processes(worker.pid)) as processes:
            assert len(processes) == 3
            worker.send_signal(number)
            assert wait_exit(worker)[0] == status
            assert chunk_comparison.have_ended(processes)
    if number is signal.SIGTERM:
        assert list_leftovers(source) == ["scratch"]


def test_a_run_that_is_not_wanted_stops_its_pieces(tmp_path: Path) -> None:
    source = beat(tmp_path / "source.mp4")
    with receiver() as service:
        service.script(200, 200, 200, 410)
        worker = start_worker(service, source, **ENDLESS)
        assert wait_exit(worker)[0] == 0
        assert EventType.FAILED not in {received.callback.type for received in service.take_all()}
    assert list_leftovers(source) == ["scratch"]


class UnavailableWorker:
    """A worker for which there is never a machine: its chunks stay queued."""

    is_ready = False

    def start(self, chunk: plan.ChunkSpec) -> "QueuedTask":  # noqa: ARG002 - nothing reads it
        return QueuedTask()


class QueuedTask:
    """A chunk that has waited for long enough."""

    is_queued = True

    def __init__(self) -> None:
        self.progress_fd, self._writer = os.pipe()

    def send_spec(self) -> None: ...

    def wait_failed(self) -> bool:
        return False

    def stop(self) -> None: ...

    def close(self) -> None:
        os.close(self.progress_fd)
        os.close(self._writer)


class UnavailablePool(ProcessWorkerPool):
    """One process of this machine, and remote workers that never start."""

    @contextmanager
    def acquire(self, count: int) -> Iterator[Sequence[ChunkWorker]]:
        yield [ProcessWorker(), *(UnavailableWorker() for _ in range(count - 1))]


def test_pieces_that_wait_for_a_machine_are_made_by_the_one_that_is_there(tmp_path: Path) -> None:
    source = beat(tmp_path / "source.mp4")
    spec = attempt_spec(source, tmp_path / "output.mp4", keyframes=STILL, parallelism=3)
    ticks, _ = run_to_end(run(spec, tmp_path / "scratch", pool=UnavailablePool()))
    assert any(tick.message.startswith("Encoding in 3 chunks with ") for tick in ticks)
    assert len(DecodedVideo.of(tmp_path / "output.mp4").times) == chunk_comparison.SECONDS * 30
