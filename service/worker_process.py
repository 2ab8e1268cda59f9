"""Processes that do the work: their environment, and their standard error as records of the service's log.

Runs write JSON lines (`callbacks.log_format`); anything else comes from libraries, or from an interpreter that dies.
"""

import asyncio
import json
import logging
import os
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
    """Log what a run writes, line by line, until its end; a run that writes too much is cut short."""
    count = 0
    async for line in _lines(stream):
        count += 1
        if count <= MAX_LINES_PER_RUN:
            _log(record_from(line, job_id, attempt))
        elif count == MAX_LINES_PER_RUN + 1:
            extra = {"job": job_id, "attempt": attempt}
            logger.warning("the run writes too much; the rest of its log is left out", extra=extra)


async def finish_log(logging_run: "asyncio.Task[None]") -> None:
    """Wait for the last lines of a run that has ended, but not for what it may have left behind."""
    await asyncio.wait((logging_run,), timeout=LOG_DRAIN_SECONDS)
    logging_run.cancel()


def record_from(line: bytes, job_id: str | None, attempt: int | None) -> logging.LogRecord:
    """Make a record from a line of a run's log, whatever it is."""
    text = line.decode("utf-8", "replace")
    try:
        return _record_from_json(json.loads(text), job_id, attempt)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        fields = {"name": STDERR_LOGGER, "msg": text, "levelno": logging.WARNING, "levelname": "WARNING"}
        return logging.makeLogRecord(fields | {"job": job_id, "attempt": attempt})


def _record_from_json(found: Any, job_id: str | None, attempt: int | None) -> logging.LogRecord:
    level = str(found["level"]).upper()
    number = logging.getLevelNamesMapping()[level]
    return logging.makeLogRecord(
        {
            "name": str(found["logger"]),
            "msg": str(found["message"]),
            "levelno": number,
            "levelname": level,
            "created": datetime.fromisoformat(found["time"]).timestamp(),
            "exc_text": str(found["exception"]) if "exception" in found else None,
            "job": job_id,
            "attempt": attempt,
        }
    )


def _log(record: logging.LogRecord) -> None:
    target = logging.getLogger(record.name)
    if target.isEnabledFor(record.levelno):
        target.handle(record)


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Read lines of any length, each cut to what a log can hold."""
    rest = b""
    while data := await stream.read(READ_BYTES):
        *lines, rest = (rest + data).split(b"\n")
        rest = rest[:MAX_LINE_BYTES]
        for line in lines:
            if line.strip():
                yield line[:MAX_LINE_BYTES]
    if rest.strip():
        yield rest


def worker_environment() -> dict[str, str]:
    """What a run needs of the environment: none of the service's secrets are in it."""
    kept = (
        "PATH",
        "HOME",
        "LANG",
        "LC_ALL",
        "TMPDIR",
        "VIRTUAL_ENV",
        "PYTHONPATH",
        "LD_LIBRARY_PATH",
        "CUDA_VISIBLE_DEVICES",
    )
    return {name: os.environ[name] for name in kept if name in os.environ} | {"LOG_FORMAT": "json"}
