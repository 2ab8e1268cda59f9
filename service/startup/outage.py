"""Log a database outage in a few lines instead of an error for each failed operation."""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator

import asyncpg
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from callbacks.log_format import LineFormatter
from infra.database.errors import is_disk_full

POLL_SECONDS = 1.0
REMINDER_SECONDS = 60.0
CHECK_TIMEOUT_SECONDS = 5.0
MAX_CAUSES = 20
QUIET_SECONDS = 30.0
"""What a full disk or a locked file holds can be read; writes work again once none has failed for so long."""

logger = logging.getLogger("framehook.database")

_OUTAGE_ERRORS = (
    *(OperationalError, InterfaceError, InternalError, PoolTimeoutError, sqlite3.OperationalError),
    *(asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError, asyncpg.InsufficientResourcesError),
    *(asyncpg.InvalidPasswordError, asyncpg.InterfaceError, asyncpg.InternalClientError),
)


class OutageLogFilter(logging.Filter):
    """Drop log records of errors that a database outage causes, and log the outage itself."""

    def __init__(self, check: Callable[[], Awaitable[None]]) -> None:
        """`check` raises while the database does not respond."""
        super().__init__()
        self._check = check
        self._since: float | None = None
        self._logged_at = self._failed_at = 0.0
        self._is_full = self._can_be_read = False
        self._dropped = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether to log a record; called from any thread."""
        error = record.__dict__.get("cause") or (record.exc_info[1] if record.exc_info else None)
        if error is None or not is_outage(error):
            return True
        self._dropped += 1
        self._failed_at = time.monotonic()
        if self._since is None:
            self._since = self._logged_at = self._failed_at
            reason = next(cause for cause in list_causes(error) if _means_outage(cause))
            self._is_full = is_disk_full(reason)
            self._can_be_read = self._is_full or isinstance(
                getattr(reason, "orig", None) or reason, sqlite3.Error
            )
            logger.error(
                "the %s; requests are answered 503 until %s (%s: %s)",
                "disk of the database is full" if self._is_full else "database is unreachable",
                "there is room" if self._is_full else "it is back",
                type(reason).__name__,
                str(reason).splitlines()[0] if str(reason) else "",
                extra={"event": "database.lost"},
            )
        return False

    async def run(self) -> None:
        """Check the database during an outage, and log its end."""
        handlers = [
            handler
            for handler in logging.getLogger().handlers
            if isinstance(handler.formatter, LineFormatter)
        ]
        for handler in handlers:
            handler.addFilter(self)
        try:
            while True:
                await asyncio.sleep(POLL_SECONDS)
                await self.check_end(time.monotonic())
        finally:
            for handler in handlers:
                handler.removeFilter(self)

    async def check_end(self, now: float) -> None:
        """Check the database during an outage, and log its end, or once a minute that it goes on."""
        if self._since is None:
            return
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
                await self._check()
        except (SQLAlchemyError, sqlite3.Error, asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            self._remind(now - self._since, now)
            return
        if self._can_be_read and now - self._failed_at < QUIET_SECONDS:
            self._remind(now - self._since, now)
            return
        logger.warning(
            "the database is back after %.0f s; %d errors were not logged",
            self._failed_at - self._since if self._can_be_read else now - self._since,
            self._dropped,
            extra={"event": "database.restored"},
        )
        self._since, self._dropped = None, 0

    def _remind(self, lost_seconds: float, now: float) -> None:
        if now - self._logged_at >= REMINDER_SECONDS:
            self._logged_at = now
            logger.error(
                "the %s for %.0f s",
                "disk of the database has been full" if self._is_full else "database has been unreachable",
                lost_seconds,
                extra={"event": "database.still_lost"},
            )


def is_outage(error: BaseException) -> bool:
    """Tell whether an error or one of its causes means that the database is unavailable."""
    return any(_means_outage(cause) for cause in list_causes(error))


def list_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it was raised from."""
    cause: BaseException | None = error
    for _ in range(MAX_CAUSES):
        if cause is None:
            return
        yield cause
        if isinstance(cause, BaseExceptionGroup):
            for member in cause.exceptions:
                yield from list_causes(member)
        cause = cause.__cause__


def _means_outage(error: BaseException) -> bool:
    reason = getattr(error, "orig", None) or error
    if isinstance(reason, sqlite3.Error):  # an invalid statement is not an outage
        code = getattr(reason, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        return isinstance(reason, sqlite3.OperationalError) and code & 0xFF != sqlite3.SQLITE_ERROR
    if isinstance(error, OSError):  # TimeoutError is an OSError
        return was_raised_in_asyncpg(error)
    return isinstance(error, _OUTAGE_ERRORS)


def was_raised_in_asyncpg(error: BaseException) -> bool:
    """Tell whether an error, perhaps an OSError, was raised inside asyncpg."""
    traceback = error.__traceback__
    while traceback is not None:
        if str(traceback.tb_frame.f_globals.get("__name__", "")).startswith("asyncpg."):
            return True
        traceback = traceback.tb_next
    return False
