"""Encode chunks on this machine, each in a process."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from gpu.chunks.plan import ChunkSpec
from gpu.chunks.workers import ChunkWorker
from gpu.crash_signals import crash_error, is_crash
from gpu.media import encoders
from gpu.media.encode import Render

# More in parallel would only use memory.
_CHUNKS_PER_CORE = 2


class ProcessWorkerPool:
    """Processes of this machine, as many as the cores can use."""

    remote_gpu_seconds = 0.0

    def worker_count(self, wanted: int) -> int:
        return min(wanted, _CHUNKS_PER_CORE * encoders.count_cores())

    def max_chunk_seconds(self, render: Render) -> float:
        """Return the whole length: a chunk never passes through memory here, it is a file."""
        return render.seconds

    def workers_per_machine(self, count: int) -> int:
        return count

    @contextmanager
    def acquire(self, count: int) -> Iterator[Sequence[ChunkWorker]]:
        yield [ProcessWorker() for _ in range(count)]


class ProcessWorker:
    """Runs one process at a time."""

    is_ready = True

    def start(self, chunk: ChunkSpec) -> "ChunkProcess":
        return ChunkProcess(chunk)


class ChunkProcess:
    """A process that encodes a chunk."""

    is_queued = False

    def __init__(self, chunk: ChunkSpec) -> None:
        self._chunk = chunk
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gpu.chunks"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": _python_path()},
            # File descriptors that this process inherited (such as a lock) stay open for as long as any child lives.
            close_fds=False,
        )

    @property
    def progress_fd(self) -> int:
        assert self.process.stdout is not None
        return self.process.stdout.fileno()

    def send_spec(self) -> None:
        """Write the spec to its standard input, which stays open: the process ends when it is closed."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended already, which `wait_failed` reports
            self.process.stdin.write(self._chunk.model_dump_json(by_alias=True).encode() + b"\n")
            self.process.stdin.flush()

    def wait_failed(self) -> bool:
        status = self.process.wait()
        if is_crash(status):
            raise crash_error()
        return status != 0

    def stop(self) -> None:
        self.process.kill()

    def close(self) -> None:
        """Wait until it has ended; a spec that it never read is dropped."""
        with suppress(BrokenPipeError), self.process:
            pass


def _python_path() -> str:
    """Return PYTHONPATH with the folder of this package first."""
    root = str(Path(__file__).parents[2])
    return os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
