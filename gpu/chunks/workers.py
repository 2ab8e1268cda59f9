"""What encodes chunks: the protocols of a task, a worker and a pool of workers."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from gpu.chunks.plan import ChunkSpec
from gpu.media.encode import Render


class ChunkTask(Protocol):
    """A chunk that is being encoded."""

    @property
    def progress_fd(self) -> int:
        """The file descriptor that reports are read from; it ends when the task does."""
        ...

    @property
    def is_queued(self) -> bool:
        """Whether it has not begun, and has waited for a machine longer than another worker would take."""
        ...

    def send_spec(self) -> None:
        """Begin; all tasks that are assigned together are started before the first begins."""
        ...

    def wait_failed(self) -> bool:
        """Wait for the end and return whether the task failed; raises the ExportError where it is known."""
        ...

    def stop(self) -> None:
        """Request a stop without waiting for it."""
        ...

    def close(self) -> None:
        """Wait until it has ended, and release its resources."""
        ...


class ChunkWorker(Protocol):
    """Encodes one chunk at a time; `is_ready` says that it begins immediately, without waiting for a machine."""

    is_ready: bool

    def start(self, chunk: ChunkSpec) -> ChunkTask:
        """Start a task for the chunk; raises OSError."""
        ...


class WorkerPool(Protocol):
    """All places where chunks of one export are encoded."""

    def worker_count(self, wanted: int) -> int:
        """Return how many workers there are, of the number wanted."""
        ...

    def max_chunk_seconds(self, render: Render) -> float:
        """Return the longest chunk of this video that a worker takes, in seconds of video."""
        ...

    def workers_per_machine(self, count: int) -> int:
        """Return how many of `count` workers share a machine."""
        ...

    def acquire(self, count: int) -> AbstractContextManager[Sequence[ChunkWorker]]:
        """Provide that many workers."""
        ...

    @property
    def remote_gpu_seconds(self) -> float:
        """The time that other machines have worked, summed, in seconds."""
        ...
