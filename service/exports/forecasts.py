"""Forecast the runs of exports; read the headers of their sources in the background where these are not known yet.

What was found in an upload is kept with it, so its first export alone waits for that. A forecast that comes later is
stored without a new `sequence`: lists and later states show it, and no event is sent for it.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import event, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from gpu.config import ExportConfig
from gpu.export_types.registry import parse_config
from infra.database.base import Database
from infra.database.errors import DATABASE_ERRORS
from infra.storage import Storage, StorageError
from service.clock import STEP_SECONDS
from service.exports.models import ExportRequest
from service.forecast.forecaster import Forecaster
from service.forecast.rates import Prediction
from service.forecast.work import SourceFacts, Work, describe_work
from service.ingest.output_check import SourceProber
from service.ingest.prober import locate_object
from service.jobs import uploads
from service.jobs.models import IS_ACTIVE, JOBS, Job
from service.jobs.transitions import match_job, to_job
from service.problems import Problem

logger = logging.getLogger("framehook.forecast")

MAX_WAITING = 1_000
"""Exports whose sources wait to be read; the forecasts of more than these stay unknown."""


class RunForecasts:
    """Forecasts for the exports of one runner."""

    def __init__(
        self, database: Database, storage: Storage, prober: SourceProber, forecaster: Forecaster
    ) -> None:
        self._database = database
        self._storage = storage
        self._prober = prober
        self._forecaster = forecaster
        self._waiting: deque[Job] = deque(maxlen=MAX_WAITING)
        self._wake = asyncio.Event()

    async def find(
        self, session: AsyncSession, user_id: str, requests: Sequence[ExportRequest]
    ) -> list[dict[str, Any]]:
        """Return the columns of the forecast of each request; none if its sources are not known."""
        keys = {key for request in requests for key in request.config.input_keys}
        facts = await uploads.find_facts(session, user_id, list(keys))
        return [self._to_columns(request.type, request.config, facts) for request in requests]

    def add_after_commit(self, session: AsyncSession, jobs: Iterable[Job]) -> None:
        """Once they are committed, read the sources of those new exports that have no forecast."""
        unknown = [job for job in jobs if job.work is None]
        if unknown:
            event.listen(
                session.sync_session, "after_commit", lambda _session: self.add_later(unknown), once=True
            )

    def add_later(self, jobs: Iterable[Job]) -> None:
        """Read the sources of committed exports when those before them are read."""
        self._waiting.extend(jobs)
        self._wake.set()

    def predict(
        self, type_name: str, config: ExportConfig, sources: Mapping[str, SourceFacts]
    ) -> Prediction | None:
        """Forecast a run of an export that need not exist; None if its sources are not known."""
        work = describe_work(type_name, config, sources, runner=self._forecaster.runner)
        return None if work is None else self._forecaster.predict(work)

    def record_run(self, job: Job) -> None:
        """Learn from a complete export how long its run took."""
        begun = job.started_at if job.spawned_at is None else job.spawned_at
        if job.work is not None and begun is not None and job.completed_at is not None:
            seconds, worked = job.completed_at - begun, job.completed_at - (job.started_at or begun)
            was_clock_set = seconds < 0 or worked >= job.gpu_seconds + STEP_SECONDS
            if not was_clock_set:
                self._forecaster.record(msgspec.json.decode(job.work, type=Work), seconds)

    async def run(self) -> None:
        """Add the forecasts that are missing, one at a time, until cancelled."""
        await self.take_over()
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self.add_missing()

    async def take_over(self) -> None:
        """Take over what an earlier process has left."""
        query = select(JOBS).where(IS_ACTIVE, JOBS.c.work.is_(None)).limit(MAX_WAITING)
        try:
            async with self._database.reading() as session:
                rows = list((await session.execute(query)).mappings())
        except DATABASE_ERRORS:
            return
        self.add_later(map(to_job, rows))

    async def add_missing(self) -> None:
        """Add the forecasts that wait; an export whose sources can't be read has none, and its run says why."""
        while self._waiting:
            await self._add_safely(self._waiting.popleft())

    async def _add_safely(self, job: Job) -> None:
        try:
            await self.add(job)
        except (Problem, StorageError, *DATABASE_ERRORS) as error:
            logger.info("a run can't be forecast: %s", type(error).__name__, extra=job.log_fields)
        except Exception:  # no export depends on this
            logger.exception("a run could not be forecast", extra=job.log_fields)

    async def add(self, job: Job) -> None:
        """Read what is not known of the sources of an active export, and store its forecast."""
        config = parse_config(job.type, msgspec.json.decode(job.config))
        is_waiting = match_job(job.job_id, job.user_id), IS_ACTIVE, JOBS.c.work.is_(None)
        async with self._database.reading() as session:
            if (await session.execute(select(JOBS.c.job_id).where(*is_waiting))).first() is None:
                return
            facts = await uploads.find_facts(session, job.user_id, config.input_keys)
        new_facts = {}
        for key in config.input_keys:
            if key not in facts:
                location = await locate_object(self._storage, job.user_id, key)
                source = SourceFacts.of(await self._prober.probe(job.job_id, location))
                if source is None:
                    return
                new_facts[key] = source
        columns = self._to_columns(job.type, config, facts | new_facts)
        async with self._database.transaction() as session:
            for key, source in new_facts.items():
                await uploads.record_facts(session, job.user_id, key, source)
            if columns:
                await session.execute(update(JOBS).where(*is_waiting).values(columns))

    def _to_columns(
        self, type_name: str, config: ExportConfig, facts: Mapping[str, SourceFacts]
    ) -> dict[str, Any]:
        work = describe_work(type_name, config, facts, runner=self._forecaster.runner)
        if work is None:
            return {}
        prediction = self._forecaster.predict(work)
        return {
            "work": msgspec.json.encode(work).decode(),
            "forecast_seconds": prediction.p50,
            "forecast_high_seconds": prediction.p90,
        }
