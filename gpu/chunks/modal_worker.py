"""Encode chunks in other containers, one Modal call per chunk.

The return value of the call is the encoded chunk, so nothing can be left behind: no object in storage, and no key in
the other container, which gets only the URLs of the sources. Chunks are kept short for that. Modal runs a call again
whose container crashed or was preempted; the export notices it only by its progress.

The export's own container encodes chunks as well, so that its GPU is not idle and the export ends even if Modal starts
no other container: a chunk that stays queued is encoded here.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import modal
import modal.exception

from gpu.chunks.heartbeat import UNREACHABLE_ERRORS, read_progress, send_heartbeat
from gpu.chunks.plan import ChunkSpec
from gpu.chunks.process_worker import ProcessWorker
from gpu.chunks.workers import ChunkWorker
from gpu.errors import ExportError, failure_dict, failure_from
from gpu.media.encode import Render
from gpu.spec import LocalFile, RemoteObject

EncodeChunk = modal.Function[..., Any, Any]
Sources = Mapping[str, LocalFile | RemoteObject]

# A chunk passes through the memory of two containers. Bits per pixel: what the best quality needs for a noisy picture.
_MAX_CHUNK_BYTES, _BITS_PER_PIXEL = 64 * 2**20, 0.25
_POLL_SECONDS = 1.0
# A cold container takes about this long to start; after that the chunk is done sooner here.
_QUEUED_SECONDS = 15.0
_UNREACHABLE_SECONDS = 120.0
_CLOSE_SECONDS = 5.0
_LOST = ExportError("piece_lost", "A part of the export was lost: its container ended.", transient=True)

log = logging.getLogger(__name__)


class ModalWorkerPool:
    """This container, and one more for each further worker."""

    def __init__(self, encode_chunk: EncodeChunk, sources: Sources) -> None:
        """`encode_chunk` is the Modal function; `sources` is where other containers read the sources."""
        self._encode_chunk, self._sources = encode_chunk, sources
        self._tasks: list[ModalChunkTask] = []

    def worker_count(self, wanted: int) -> int:
        return wanted

    def max_chunk_seconds(self, render: Render) -> float:
        pixels = render.width * render.height * float(render.clock.rate)
        return _MAX_CHUNK_BYTES * 8 / (pixels * _BITS_PER_PIXEL)

    def workers_per_machine(self, count: int) -> int:  # noqa: ARG002 - each has its own machine
        return 1

    @property
    def remote_gpu_seconds(self) -> float:
        return sum(task.seconds for task in self._tasks)

    @contextmanager
    def acquire(self, count: int) -> Iterator[Sequence[ChunkWorker]]:
        """Provide the workers; without a heartbeat only this container, which encodes one chunk after another."""
        with ExitStack() as stack:
            try:
                channel = stack.enter_context(send_heartbeat())
            except (modal.exception.Error, OSError) as error:
                log.warning(
                    "no other containers are used: the heartbeat can't be sent: %s", type(error).__name__
                )
                yield [ProcessWorker()]
            else:
                yield [ProcessWorker(), *(_ModalWorker(self._spawn, channel) for _ in range(count - 1))]

    def _spawn(self, chunk: ChunkSpec, channel: modal.Dict) -> "ModalChunkTask":
        transfer = chunk.spec.transfer.model_copy(update={"sources": dict(self._sources)})
        sent = chunk.model_copy(update={"spec": chunk.spec.model_copy(update={"transfer": transfer})})
        self._tasks.append(ModalChunkTask(self._encode_chunk, chunk, sent, channel))
        return self._tasks[-1]


class _ModalWorker:
    """Makes one Modal call at a time."""

    is_ready = False

    def __init__(
        self, spawn: "Callable[[ChunkSpec, modal.Dict], ModalChunkTask]", channel: modal.Dict
    ) -> None:
        self._spawn, self._channel = spawn, channel

    def start(self, chunk: ChunkSpec) -> "ModalChunkTask":
        return self._spawn(chunk, self._channel)


class ModalChunkTask:
    """A chunk that another container encodes; a thread waits for it and writes its reports to a pipe."""

    def __init__(
        self, encode_chunk: EncodeChunk, chunk: ChunkSpec, sent: ChunkSpec, channel: modal.Dict
    ) -> None:
        self._encode_chunk, self._chunk, self._sent, self._channel = encode_chunk, chunk, sent, channel
        self._name = chunk.path.stem
        self.progress_fd, self._progress_writer = os.pipe()
        self._thread = threading.Thread(target=self._wait, name=self._name, daemon=True)
        self._stop_requested = threading.Event()
        self._spawn_failed = False
        self._sent_at: float | None = None
        self._started_at: float | None = None
        self._seconds: float | None = None

    @property
    def seconds(self) -> float:
        """How long the container has worked, as far as is known."""
        if self._seconds is not None:
            return self._seconds
        return 0.0 if self._started_at is None else time.monotonic() - self._started_at

    @property
    def is_queued(self) -> bool:
        if self._started_at is not None or self._sent_at is None:
            return False
        return self._spawn_failed or time.monotonic() - self._sent_at > _QUEUED_SECONDS

    def send_spec(self) -> None:
        self._sent_at = time.monotonic()
        self._thread.start()

    def wait_failed(self) -> bool:
        return False  # it has reported the error

    def stop(self) -> None:
        self._stop_requested.set()

    def close(self) -> None:
        """Wait for the end of the call, but not for long: without the heartbeat it ends in any case."""
        self.stop()
        if self._thread.ident is None:
            os.close(self._progress_writer)
        else:
            self._thread.join(_CLOSE_SECONDS)
        if self._seconds is None:
            self._seconds = self.seconds
        os.close(self.progress_fd)

    def _wait(self) -> None:
        try:
            self._run_call()
        except Exception:  # the edge of a thread: the scheduler waits for a report
            log.exception("waiting for a chunk failed unexpectedly")
            self._emit_failure(_LOST)
        finally:
            os.close(self._progress_writer)

    def _run_call(self) -> None:
        try:
            arguments = self._sent.model_dump(mode="json", by_alias=True)
            call = self._encode_chunk.spawn(arguments, self._channel.object_id, self._name)
        except (modal.exception.Error, OSError) as error:
            log.warning("the call for a chunk could not be made: %s", type(error).__name__)
            self._spawn_failed = True
            self._stop_requested.wait()
            return
        value = self._result_of(call)
        if value is None:
            with suppress(modal.exception.Error, OSError):
                call.cancel()
        else:
            self._apply_result(value)

    def _result_of(self, call: "modal.FunctionCall[Any]") -> dict[str, Any] | None:
        """Return the value of the call; None if a stop is requested, empty if the container is lost."""
        last_answer_at = time.monotonic()
        while not self._stop_requested.is_set():
            try:
                value: dict[str, Any] = call.get(timeout=_POLL_SECONDS)
            except modal.exception.OutputExpiredError:
                return {}
            except TimeoutError:
                last_answer_at = time.monotonic()
                self._poll()
            except UNREACHABLE_ERRORS:
                if time.monotonic() - last_answer_at > _UNREACHABLE_SECONDS:
                    return {}
                self._stop_requested.wait(_POLL_SECONDS)
            except modal.exception.Error as error:
                log.warning("the container of a chunk ended: %s", type(error).__name__)
                return {}
            else:
                return value
        return None

    def _poll(self) -> None:
        done = read_progress(self._channel, self._name)
        if done is not None:
            self._started_at = self._started_at or time.monotonic()
            self._emit({"done": min(done, len(self._chunk.ticks) - 1)})

    def _apply_result(self, value: dict[str, Any]) -> None:
        self._seconds = float(value.get("seconds", self.seconds))
        if "content" in value:
            self._chunk.path.write_bytes(value["content"])
            self._emit({"done": len(self._chunk.ticks)})
        elif "error" in value:
            self._emit_failure(ExportError(**value["error"]))
        else:
            self._emit_failure(_LOST)

    def _emit_failure(self, error: ExportError) -> None:
        self._emit({"error": failure_dict(failure_from(error))})

    def _emit(self, line: dict[str, object]) -> None:
        with suppress(BrokenPipeError):
            os.write(self._progress_writer, json.dumps(line).encode() + b"\n")
