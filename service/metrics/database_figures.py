"""What the database counts, read at a scrape and kept for some seconds."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from sqlalchemy.ext.asyncio import AsyncSession

from infra.database.base import Database
from infra.database.errors import DATABASE_ERRORS
from service.clock import Clock
from service.jobs.statistics import ActiveExports, ExportState, count_active
from service.metrics.groups import SHARED, gauge_of

CACHE_SECONDS: Final = 5.0
READ_SECONDS: Final = 5.0


@dataclass(frozen=True)
class Backlog:
    """The deliveries that are pending: those that are due now, and when the oldest of these became due."""

    pending: int
    due: int
    oldest_due_at: float | None


ReadBacklog = Callable[[AsyncSession, float], Awaitable[Backlog]]


class DatabaseFigures(Collector):
    """Reads active exports and pending deliveries, whose indexes hold nothing that has ended."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        read_backlog: ReadBacklog,
        kinds: Iterable[tuple[str, str]] = (),
    ) -> None:
        """`kinds` are the types of exports and their runners that are shown even if there are none."""
        self._database = database
        self._clock = clock
        self._read_backlog = read_backlog
        self._kinds = tuple(kinds)
        self._lock = asyncio.Lock()
        self._read_at = float("-inf")
        self._is_up = False
        self._exports: list[ActiveExports] = []
        self._backlog = Backlog(0, 0, None)

    async def refresh(self) -> None:
        """Read the figures again if they are too old; without the database only `framehook_database_up` is left."""
        async with self._lock:
            if self._clock.monotonic() < self._read_at + CACHE_SECONDS:
                return
            try:
                async with asyncio.timeout(READ_SECONDS):
                    await self._read()
                self._is_up = True
            except (TimeoutError, *DATABASE_ERRORS):
                self._is_up = False
            self._read_at = self._clock.monotonic()

    def expire(self) -> None:
        """Read the figures again at the next scrape."""
        self._read_at = float("-inf")

    async def _read(self) -> None:
        now = self._clock.wall()
        async with self._database.reading() as session:
            self._exports = await count_active(session, now=now)
            self._backlog = await self._read_backlog(session, now)

    def collect(self) -> Iterator[Metric]:
        """Yield the figures that were read last."""
        yield gauge_of("database_up", "Whether the database answered this replica", [((), self._is_up)])
        if not self._is_up:
            return
        counts = Counter({(state.value, *kind): 0 for state in ExportState for kind in self._kinds})
        for active in self._exports:
            counts[active.state.value, active.type, active.runner] += active.count
        yield gauge_of(
            "database_exports",
            f"Exports that have not ended, by what they do{SHARED}",
            sorted(counts.items()),
            *("state", "type", "runner"),
        )
        waiting = [active.since for active in self._exports if active.state is ExportState.WAITING]
        yield gauge_of(
            "database_oldest_waiting_seconds",
            f"Age of the export that waits longest to start, 0 if none waits{SHARED}",
            [((), self._age(min(waiting, default=None)))],
        )
        yield from self._collect_backlog()

    def _collect_backlog(self) -> Iterator[Metric]:
        backlog = self._backlog
        states = [(("due",), float(backlog.due)), (("later",), float(backlog.pending - backlog.due))]
        yield gauge_of(
            "database_webhook_deliveries",
            f"Deliveries to make now, and those in flight or tried again later{SHARED}",
            states,
            "state",
        )
        yield gauge_of(
            "database_webhook_oldest_due_seconds",
            f"How long the oldest delivery has been due, 0 if none is{SHARED}",
            [((), self._age(backlog.oldest_due_at))],
        )

    def _age(self, since: float | None) -> float:
        return 0.0 if since is None else max(0.0, self._clock.wall() - since)
