"""`python -m gpu.chunks`: encode one chunk of an export in a process of its own.

Reads an Order as JSON, a line on standard input, and ends at once where standard input does: nobody wants the piece
any more then. Standard output holds a JSON object a line: `done` (ticks), and at last `error` (code, message,
transient) if it failed. Exit status: 0 made, 1 failed, 2 an order that can't be read, 3 nobody left to make it for.
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
from gpu.attempt import INTERNAL, OUT_OF_MEMORY
from gpu.chunks.plan import Order, render_piece
from gpu.errors import ExportError, describe
from gpu.worker import machine_bytes, resident_bytes

FAILED_STATUS, UNREADABLE_STATUS, ORPHANED_STATUS = 1, 2, 3
_TOLD_SECONDS = 0.05
_LOOK_SECONDS = 0.2

log = logging.getLogger(__name__)


def main() -> int:
    """Make the piece; the process's exit status."""
    # A signal to the whole group is for the process that made this one: it ends this one too, and cleans up.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    log_to_stderr(os.environ.get("LOG_FORMAT", "text"))
    try:
        order = Order.model_validate_json(sys.stdin.buffer.readline())
    except ValidationError:
        return UNREADABLE_STATUS
    threading.Thread(target=_watch, args=(memory_bytes(order),), daemon=True).start()
    try:
        _made(order)
    except ExportError as error:
        log.info("piece failed: %s", describe(error))
        return _failed(Failure(code=error.code, message=error.message, transient=error.transient))
    except Exception:  # the edge of the process: whatever it is, the other side must be told
        log.exception("piece failed unexpectedly")
        return _failed(INTERNAL)
    return 0


def memory_bytes(order: Order) -> int:
    """What this piece may take, so that together they leave the machine a quarter of its memory."""
    return machine_bytes() * 3 // 4 // order.pieces


def _made(order: Order) -> None:
    told = time.monotonic()
    with closing(render_piece(order)) as making:
        for done in making:
            if (now := time.monotonic()) - told >= _TOLD_SECONDS:
                told = now
                _say({"done": min(done, len(order.ticks) - 1)})  # the last is done when the file is closed
    _say({"done": len(order.ticks)})


def _watch(memory_bytes: int) -> None:
    """End the process when nobody waits for it any more, or it takes too much memory, even amid a decoder."""
    while not select.select([0], [], [], _LOOK_SECONDS)[0]:
        if resident_bytes() > memory_bytes:
            os._exit(_failed(OUT_OF_MEMORY))
    os._exit(ORPHANED_STATUS)


def _failed(failure: Failure) -> int:
    _say({"error": {"code": failure.code, "message": failure.message, "transient": failure.transient}})
    return FAILED_STATUS


def _say(line: dict[str, object]) -> None:
    """In one piece, for two threads may speak."""
    os.write(1, json.dumps(line).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
