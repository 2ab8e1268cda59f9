"""Count and log each change of an export once, in the process that has committed it."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession

from infra.database.base import BeforeCommit, Database
from service.jobs import queries
from service.jobs.models import Job, Status
from service.jobs.timeline import TimelinePhase, list_phases
from service.jobs.transitions import CHANGED_JOBS, LOSSES
from service.metrics.export_log import log_change, log_end
from service.metrics.exports import ExportChange, ExportMetrics, classify_change

OnEnd = Callable[[Job, Sequence[TimelinePhase]], None]
MAX_WAITING = 10_000
"""How many ended exports may wait for a database that is away; those that ended first are dropped then."""


class ExportRecorder:
    """Counts and logs changes; that of an end follows when the times of its phases are read."""

    def __init__(self, database: Database, metrics: ExportMetrics, on_end: OnEnd | None = None) -> None:
        """Call `on_end` with each export that has ended and its phases."""
        self._database = database
        self._on_end = on_end
        self._metrics = metrics
        self._ended: deque[Job] = deque(maxlen=MAX_WAITING)
        self._has_ended = asyncio.Event()
        self._lock = asyncio.Lock()

    def follow(self, before_commit: BeforeCommit) -> BeforeCommit:
        """Return a hook that does what this one does, and records the changes of the transaction once committed."""

        async def note_changes(session: AsyncSession) -> None:
            jobs = tuple(session.info.get(CHANGED_JOBS, ()))
            await before_commit(session)
            if jobs:
                record = partial(self._record_all, jobs, session.info.pop(LOSSES, {}))
                event.listen(session.sync_session, "after_commit", record, once=True)

        return note_changes

    def record(self, job: Job, loss: str | None = None) -> None:
        """Record a committed change; `loss` is the code of what ended the attempt before, if it was lost."""
        change = classify_change(job, loss)
        if change is None:
            return
        self._metrics.count(change, job, loss)
        if change is ExportChange.ENDED:
            self._ended.append(job)
            self._has_ended.set()
        else:
            log_change(change, job, loss)

    async def run(self) -> None:
        """Record ends as they come, until cancelled."""
        while True:
            await self._has_ended.wait()
            self._has_ended.clear()
            try:
                await self.drain()
            except BaseException:
                self._has_ended.set()  # what is left is recorded when this loop is started again
                raise

    async def drain(self) -> None:
        """Record the ends that wait."""
        async with self._lock:
            while self._ended:
                job = self._ended[0]
                async with self._database.reading() as session:
                    events = await queries.list_events(session, job.job_id)
                if self._ended[0] is job:  # else it was dropped for newer ones
                    self._ended.popleft()
                phases = list_latest_phases(job, events)
                seconds = sum_phases(phases)
                self._metrics.observe_end(job, seconds)
                log_end(job, seconds)
                if self._on_end is not None:
                    self._on_end(job, phases)

    def _record_all(self, jobs: Iterable[Job], losses: Mapping[str, str], _session: object) -> None:
        for job in jobs:
            self.record(job, losses.get(job.job_id) if job.status is Status.PENDING else None)


def list_latest_phases(job: Job, events: Iterable[Mapping[str, Any]]) -> list[TimelinePhase]:
    """Return the phases up to this end of the job, since its creation or its latest retry."""
    past = [row for row in events if row["sequence"] <= job.sequence]
    starts = [index for index, row in enumerate(past[:-1]) if Status(row["status"]).is_final]
    current = past[starts[-1] + 1 :] if starts else past
    begun = [{**row, "at": max(row["at"], job.limits_since)} for row in current]
    return list_phases(begun, now=None)


def sum_phases(phases: Iterable[TimelinePhase]) -> dict[str, float]:
    """Return the seconds of each phase, over all attempts."""
    totals: dict[str, float] = {}
    for phase in phases:
        totals[phase["phase"]] = round(totals.get(phase["phase"], 0.0) + phase["seconds"], 3)
    return totals
