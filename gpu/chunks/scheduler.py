"""Encode the chunks of one export in parallel; on any error or cancellation stop all workers.

Only a `WorkerPool` (in `gpu.chunks.workers`) knows where chunks are encoded: in processes of this machine or in other
containers. A task reports in lines of JSON: `{"done": ticks}` or `{"error": …}`.
"""

import json
import os
import selectors
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

from gpu.chunks.plan import ChunkSpec
from gpu.chunks.workers import ChunkWorker
from gpu.errors import ExportError, map_errors

# The longest wait for a report: after it the caller gets a chance to stop.
_POLL_SECONDS = 0.1
_READ_BYTES = 65_536
_LOST = "A part of the export was lost: the process that encoded it ended."


@dataclass(frozen=True)
class ProgressSample:
    """How much was done at a time, in seconds of any clock."""

    at: float
    done: float


@dataclass(frozen=True)
class ChunkProgress:
    """The part of the export that is done, 0 to 1, and the seconds that the rest will take."""

    fraction: float
    eta_seconds: float | None


def estimate_eta(first: ProgressSample, latest: ProgressSample, total: float) -> float | None:
    """Return the seconds left at the speed between two samples; None if nothing was done between them."""
    if latest.done <= first.done:
        return None
    return (latest.at - first.at) * (total - latest.done) / (latest.done - first.done)


def encode_chunks(
    chunk_specs: Sequence[ChunkSpec],
    workers: Sequence[ChunkWorker],
    audio: Generator[None, None, None] | None = None,
) -> Generator[ChunkProgress, None, None]:
    """Encode every chunk, and the `audio` in this process; yield the progress at least 10 times a second.

    The first chunk that fails ends the others: raises its ExportError, or `piece_lost`. Closing the generator stops all
    workers.
    """
    with _open_scheduler(chunk_specs, workers) as scheduler, closing(audio or _no_steps()) as audio_steps:
        audio_pending = True
        while audio_pending or scheduler.running:
            audio_pending = audio_pending and next(audio_steps, _DONE) is not _DONE
            scheduler.poll(0 if audio_pending else _POLL_SECONDS)
            yield scheduler.progress()


def _no_steps() -> Generator[None, None, None]:
    yield from ()


_DONE = object()


class _ChunkState:
    """A chunk in progress: its worker, its task and what the task has reported."""

    def __init__(self, chunk: ChunkSpec, worker: ChunkWorker) -> None:
        self.chunk, self.worker = chunk, worker
        self.task = worker.start(chunk)
        self.done = 0
        self.first_sample: ProgressSample | None = None
        self._unread = b""

    def read_reports(self) -> bool:
        """Read what the task has reported; return whether more may come. Raises its ExportError, or `piece_lost`."""
        received = os.read(self.task.progress_fd, _READ_BYTES)
        *lines, self._unread = (self._unread + received).split(b"\n")
        for line in lines:
            report = json.loads(line)
            if "error" in report:
                raise ExportError(**report["error"])
            # A chunk that another worker takes over begins again: progress that was reported is kept.
            self.done = max(self.done, report["done"])
            # Time before the first report is start-up, and says nothing about the speed.
            self.first_sample = self.first_sample or ProgressSample(time.monotonic(), self.done)
        if not received and (self.task.wait_failed() or self.done < len(self.chunk.ticks)):
            raise ExportError("piece_lost", _LOST, transient=True)
        return bool(received)

    def estimate_eta(self, now: float) -> float | None:
        """Return the seconds left at the speed so far; None before the first report."""
        if self.done == len(self.chunk.ticks):
            return 0.0
        if self.first_sample is None:
            return None
        return estimate_eta(self.first_sample, ProgressSample(now, self.done), len(self.chunk.ticks))


class _ChunkScheduler:
    """Assigns chunks to workers and collects their reports."""

    def __init__(
        self,
        chunk_specs: Sequence[ChunkSpec],
        workers: Sequence[ChunkWorker],
        selector: selectors.BaseSelector,
    ) -> None:
        self._pending = deque(chunk_specs)
        self._idle = list(workers)
        self._selector = selector
        self._total, self._done = sum(len(chunk.ticks) for chunk in chunk_specs), 0
        self.running: list[_ChunkState] = []

    def poll(self, seconds: float) -> None:
        """Wait up to `seconds` for reports, then assign pending chunks to free workers."""
        for key, _ in self._selector.select(seconds):
            state: _ChunkState = key.data
            if not state.read_reports():
                self._done += len(state.chunk.ticks)
                self._release(state)
        self.assign_chunks()

    def assign_chunks(self) -> None:
        """Give each idle worker the next chunk; a ready worker also takes over one that is queued for a machine."""
        assigned: list[_ChunkState] = []
        for worker in tuple(self._idle):
            if chunk := self._next_chunk_for(worker):
                self._idle.remove(worker)
                with map_errors("spawn_failed", "A part of the export could not be started.", transient=True):
                    state = _ChunkState(chunk, worker)
                self.running.append(state)
                self._selector.register(state.task.progress_fd, selectors.EVENT_READ, state)
                assigned.append(state)
        for state in assigned:
            state.task.send_spec()

    def progress(self) -> ChunkProgress:
        done = self._done + sum(state.done for state in self.running)
        now = time.monotonic()
        remaining = [seconds for state in self.running if (seconds := state.estimate_eta(now)) is not None]
        is_known = len(remaining) == len(self.running) and not self._pending
        return ChunkProgress(done / self._total, max(remaining, default=0.0) if is_known else None)

    def close(self) -> None:
        """Stop all tasks, then wait for them."""
        for state in self.running:
            state.task.stop()
        for state in self.running:
            state.task.close()

    def _next_chunk_for(self, worker: ChunkWorker) -> ChunkSpec | None:
        if self._pending:
            return self._pending.popleft()
        queued = (state for state in self.running if worker.is_ready and state.task.is_queued)
        if state := next(queued, None):
            state.task.stop()
            self._release(state, is_idle=False)  # its worker got no machine, so it gets no other chunk
            return state.chunk
        return None

    def _release(self, state: _ChunkState, *, is_idle: bool = True) -> None:
        self._selector.unregister(state.task.progress_fd)
        self.running.remove(state)
        state.task.close()
        if is_idle:
            self._idle.append(state.worker)


@contextmanager
def _open_scheduler(
    chunk_specs: Sequence[ChunkSpec], workers: Sequence[ChunkWorker]
) -> Iterator[_ChunkScheduler]:
    with selectors.DefaultSelector() as selector:
        scheduler = _ChunkScheduler(chunk_specs, workers, selector)
        try:
            scheduler.assign_chunks()
            yield scheduler
        finally:
            scheduler.close()
