"""A database that is away while the service runs: a few log lines, however much fails for it meanwhile."""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator

import asyncpg
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from callbacks.log_format import LineFormatter

LOOK_SECONDS = 1.0
REPEAT_SECONDS = 60.0
CHECK_SECONDS = 5.0

logger = logging.getLogger("framehook.database")

_AWAY = (
    *(OperationalError, InterfaceError, InternalError, PoolTimeoutError, sqlite3.OperationalError),
    *(asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError, asyncpg.InsufficientResourcesError),
    *(asyncpg.InvalidPasswordError, asyncpg.InterfaceError, asyncpg.InternalClientError),
)


class OutageLogFilter(logging.Filter):
    """Drops what is logged of errors that come from a database that is away, and logs the outage itself."""

    def __init__(self, check: Callable[[], Awaitable[None]]) -> None:
        """`check` raises while the database does not answer."""
        super().__init__()
        self._check = check
        self._since: float | None = None
        self._told_at = 0.0
        self._dropped = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is to be logged; it may come from any thread."""
        error = record.__dict__.get("cause") or (record.exc_info[1] if record.exc_info else None)
        if error is None or not is_outage(error):
            return True
        self._dropped += 1
        if self._since is None:
            self._since = self._told_at = time.monotonic()
            reason = next(found for found in _causes(error) if _is_away(found))
            logger.error(
                "the database can't be reached; until it can, requests are answered 503 (%s: %s)",
                type(reason).__name__,
                str(reason).splitlines()[0] if str(reason) else "",
            )
        return False

    async def run(self) -> None:
        """Ask after the database while it is away, and say when it is back."""
        handlers = [one for one in logging.getLogger().handlers if isinstance(one.formatter, LineFormatter)]
        for handler in handlers:
            handler.addFilter(self)
        try:
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                if self._since is not None:
                    await self._look(self._since)
        finally:
            for handler in handlers:
                handler.removeFilter(self)

    async def _look(self, since: float) -> None:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await self._check()
        except (SQLAlchemyError, sqlite3.Error, asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            now = time.monotonic()
            if now - self._told_at >= REPEAT_SECONDS:
                self._told_at = now
                logger.log(logging.ERROR, "the database still can't be reached, after %.0f s", now - since)
            return
        self._since = None
        away, dropped, self._dropped = time.monotonic() - since, self._dropped, 0
        logger.warning("the database is back after %.0f s; %d errors were left out here", away, dropped)


def is_outage(error: BaseException) -> bool:
    """Whether an error, or what it came from, means that the database is away."""
    return any(_is_away(found) for found in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    for _ in range(20):
        if found is None:
            return
        yield found
        if isinstance(found, BaseExceptionGroup):
            for member in found.exceptions:
                yield from _causes(member)
        found = found.__cause__


def _is_away(error: BaseException) -> bool:
    reason = getattr(error, "orig", None) or error
    if isinstance(reason, sqlite3.Error):  # a statement that is wrong is no outage
        code = getattr(reason, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        return isinstance(reason, sqlite3.OperationalError) and code & 0xFF != sqlite3.SQLITE_ERROR
    if isinstance(error, OSError):  # TimeoutError is one
        return was_raised_in_asyncpg(error)
    return isinstance(error, _AWAY)


def was_raised_in_asyncpg(error: BaseException) -> bool:
    """Whether an error, which may be the system's own, was raised while asyncpg talked to the server."""
    trace = error.__traceback__
    while trace is not None:
        if str(trace.tb_frame.f_globals.get("__name__", "")).startswith("asyncpg."):
            return True
        trace = trace.tb_next
    return False
