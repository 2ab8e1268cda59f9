"""Metrics of the storage: whether it works, and which of its calls fail."""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar, cast

from infra.storage import Storage, StorageError, StorageUnavailable
from service.metrics.groups import MetricGroup, create_counter, create_gauge

logger = logging.getLogger("framehook.storage")

CHECK_EVERY_SECONDS: Final = 60.0
"""A check of a bucket is a paid request: 43,200 a month for each replica."""
CHECK_LIMIT_SECONDS: Final = 10.0
DISK_ERROR: Final = "disk_failed"
"""The label for what the operating system says of a folder."""

S = TypeVar("S", bound=Storage)
Result = TypeVar("Result")


class StorageMetrics(MetricGroup):
    """Calls of this process to its storage; what runs and browsers send there directly is not seen."""

    def __init__(self) -> None:
        self.up = create_gauge("storage_up", "Whether the storage answered the last check of this replica")
        self.errors = create_counter(
            "storage_errors",
            "Calls to the storage that failed, by operation and code of the error",
            *("operation", "error"),
        )
        self.up.set(1)
        self.errors.labels("check", StorageUnavailable.code)

    def count(self, operation: str, error: StorageError | OSError) -> None:
        """Count a call that failed."""
        code = error.code if isinstance(error, StorageError) else DISK_ERROR
        self.errors.labels(operation, code).inc()


class MeasuredStorage:
    """Passes everything on to a storage, and counts the calls that fail."""

    def __init__(self, storage: Storage, metrics: StorageMetrics) -> None:
        self._storage = storage
        self._metrics = metrics

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._storage, name)
        if not inspect.iscoroutinefunction(member):
            return member

        async def call(*args: object, **kwargs: object) -> object:
            return await self._measure(name, member(*args, **kwargs))

        return call

    async def _measure(self, operation: str, call: Awaitable[Result]) -> Result:
        try:
            return await call
        except (StorageError, OSError) as error:
            self._metrics.count(operation, error)
            raise


def measure_storage(storage: S, metrics: StorageMetrics) -> S:
    """Return the storage with its failing calls counted."""
    return cast("S", MeasuredStorage(storage, metrics))


class StorageWatch:
    """Checks the storage once a minute, and logs when it fails and when it works again."""

    def __init__(
        self,
        check: Callable[[], Awaitable[None]],
        metrics: StorageMetrics,
        limit_seconds: float = CHECK_LIMIT_SECONDS,
    ) -> None:
        """`check` raises StorageError or OSError while the storage can't be used; it may hang."""
        self._check = check
        self._metrics = metrics
        self._limit_seconds = limit_seconds
        self._is_up = True
        self._running: asyncio.Future[None] | None = None

    async def run(self) -> None:
        """Check the storage until cancelled."""
        try:
            while True:
                await self.check_once()
                await asyncio.sleep(CHECK_EVERY_SECONDS)
        finally:
            if self._running is not None:
                self._running.cancel()

    async def check_once(self) -> None:
        """Record whether the storage works; one that hangs is asked again only once it has answered."""
        running = self._running = self._running or asyncio.ensure_future(self._check())
        await asyncio.wait({running}, timeout=self._limit_seconds)
        if not running.done():
            self._record(is_up=False, reason="it does not answer")
            return
        self._running = None
        error = running.exception()
        if error is not None and not isinstance(error, (StorageError, OSError)):
            raise error
        self._record(is_up=error is None, reason=str(error))

    def _record(self, *, is_up: bool, reason: str) -> None:
        self._metrics.up.set(is_up)
        if is_up == self._is_up:
            return
        self._is_up = is_up
        if is_up:
            logger.warning("the storage works again", extra={"event": "storage.restored"})
        else:
            logger.error("the storage fails its check: %s", reason, extra={"event": "storage.lost"})
