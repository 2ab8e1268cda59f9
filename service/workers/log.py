"""Log what child processes write to standard error.

They write JSON lines (`callbacks.log_format`); other lines come from libraries, or from an interpreter that crashes.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

MAX_LINE_BYTES = 64 * 1024
MAX_LINES_PER_RUN = 1_000
STDERR_LOGGER = "gpu.stderr"
READ_BYTES = 64 * 1024
LOG_DRAIN_SECONDS = 2.0

logger = logging.getLogger("framehook.runners")


async def log_run(
    stream: asyncio.StreamReader, job_id: str | None = None, attempt: int | None = None
) -> None:
    """Log the lines that a run writes until it ends.

    Lines beyond MAX_LINES_PER_RUN are dropped.
    """
    count = 0
    async for line in _lines(stream):
        count += 1
        if count <= MAX_LINES_PER_RUN:
            _log(record_from(line, job_id, attempt))
        elif count == MAX_LINES_PER_RUN + 1:
            extra = {"job": job_id, "attempt": attempt}
            logger.warning("the run has logged too much; the rest of its log is dropped", extra=extra)


async def finish_log(logging_run: "asyncio.Task[None]") -> None:
    """Wait for the last lines of a run that has ended.

    Child processes that it left running are not waited for.
    """
    await asyncio.wait((logging_run,), timeout=LOG_DRAIN_SECONDS)
    logging_run.cancel()


def record_from(line: bytes, job_id: str | None, attempt: int | None) -> logging.LogRecord:
    """Make a log record from any line of a run's log."""
    text = line.decode("utf-8", "replace")
    try:
        return _record_from_json(json.loads(text), job_id, attempt)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        fields = {"name": STDERR_LOGGER, "msg": text, "levelno": logging.WARNING, "levelname": "WARNING"}
        return logging.makeLogRecord(fields | {"job": job_id, "attempt": attempt})


def _record_from_json(fields: Any, job_id: str | None, attempt: int | None) -> logging.LogRecord:
    level = str(fields["level"]).upper()
    number = logging.getLevelNamesMapping()[level]
    return logging.makeLogRecord(
        {
            "name": str(fields["logger"]),
            "msg": str(fields["message"]),
            "levelno": number,
            "levelname": level,
            "created": datetime.fromisoformat(fields["time"]).timestamp(),
            "event": str(fields["event"]) if "event" in fields else None,
            "exc_text": str(fields["exception"]) if "exception" in fields else None,
            "job": job_id,
            "attempt": attempt,
        }
    )


def _log(record: logging.LogRecord) -> None:
    target = logging.getLogger(record.name)
    if target.isEnabledFor(record.levelno):
        target.handle(record)


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Read lines of any length, each truncated to MAX_LINE_BYTES."""
    rest = b""
    while data := await stream.read(READ_BYTES):
        *lines, rest = (rest + data).split(b"\n")
        rest = rest[:MAX_LINE_BYTES]
        for line in lines:
            if line.strip():
                yield line[:MAX_LINE_BYTES]
    if rest.strip():
        yield rest
