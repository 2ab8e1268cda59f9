"""`python -m gpu.chunks`: encode one chunk of an export.

Reads a ChunkSpec as a line of JSON on standard input, and exits when standard input is closed: the export has ended.
Writes a JSON object a line to standard output: `done` (ticks), and finally `error` (code, message, transient) if it
failed. Exit status: 0 encoded, 1 failed, 2 a spec that can't be read, 3 standard input was closed.
"""

import json
import logging
import os
import select
import signal
import sys
import threading
import time
from contextlib import closing

from pydantic import ValidationError

from callbacks.envelope import Failure
from callbacks.log_format import log_to_stderr
from gpu.chunks.plan import ChunkSpec, render_chunk
from gpu.errors import INTERNAL, OUT_OF_MEMORY, ExportError, describe, failure_dict, failure_from
from gpu.memory import resident_memory_bytes, total_memory_bytes

FAILED_STATUS, UNREADABLE_STATUS, ORPHANED_STATUS = 1, 2, 3
_PROGRESS_SECONDS = 0.05
_POLL_SECONDS = 0.2

log = logging.getLogger(__name__)


def main() -> int:
    """Encode the chunk and return the exit status."""
    # A signal to the process group is for the parent, which stops this process and cleans up.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    log_to_stderr(os.environ.get("LOG_FORMAT", "text"))
    try:
        chunk = ChunkSpec.model_validate_json(sys.stdin.buffer.readline())
    except ValidationError:
        return UNREADABLE_STATUS
    threading.Thread(target=_watch, args=(memory_bytes(chunk),), daemon=True).start()
    try:
        _encode(chunk)
    except ExportError as error:
        log.info("chunk failed: %s", describe(error))
        return _report_failure(failure_from(error))
    except Exception:  # the edge of the process: the parent waits for a report
        log.exception("chunk failed unexpectedly")
        return _report_failure(INTERNAL)
    return 0


def memory_bytes(chunk: ChunkSpec) -> int:
    """Return the memory that this process may use, so that all workers leave a quarter of the machine's free."""
    return total_memory_bytes() * 3 // 4 // chunk.workers_on_machine


def _encode(chunk: ChunkSpec) -> None:
    reported_at = time.monotonic()
    with closing(render_chunk(chunk)) as encoding:
        for done in encoding:
            if (now := time.monotonic()) - reported_at >= _PROGRESS_SECONDS:
                reported_at = now
                _emit(
                    {"done": min(done, len(chunk.ticks) - 1)}
                )  # the last tick is done when the file is closed
    _emit({"done": len(chunk.ticks)})


def _watch(memory_bytes: int) -> None:
    """End the process when the parent has ended or memory runs out, even while a decoder hangs."""
    while not select.select([0], [], [], _POLL_SECONDS)[0]:
        if resident_memory_bytes() > memory_bytes:
            os._exit(_report_failure(OUT_OF_MEMORY))
    os._exit(ORPHANED_STATUS)


def _report_failure(failure: Failure) -> int:
    _emit({"error": failure_dict(failure)})
    return FAILED_STATUS


def _emit(line: dict[str, object]) -> None:
    """Write the line in one call, since two threads report."""
    os.write(1, json.dumps(line).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
