"""Jobs and callbacks for tests that write to the database without HTTP."""

import asyncio
from collections.abc import Callable, Collection
from typing import Any

import msgspec
from sqlalchemy import select

from callbacks.envelope import EventType, Failure, Output, Phase, Report
from infra.database.base import Database
from service.fanout.changes import JobChanges
from service.fanout.hub import Hub
from service.ingest.batch_writer import BatchWriter
from service.ingest.changes import Change, Outcome
from service.jobs import models
from service.jobs.models import Job, Status
from service.jobs.queue.submissions import Submission
from service.jobs.serializers import JobSerializer
from tests.support.fakes import OUTPUT

Row = dict[str, object]
VALID_OUTPUT = msgspec.convert(OUTPUT, Output)


def submission_for(job_id: str, user_id: str = "ada", *, batch_id: str | None = None) -> Submission:
    return Submission(
        job_id=job_id,
        user_id=user_id,
        type="framing",
        config="{}",
        input_key="uploads/match.mp4",
        output_key=f"exports/{job_id}.mp4",
        batch_id=batch_id,
    )


def build_ended_job(job_id: str, user_id: str = "ada", **fields: Any) -> Job:
    """Return a complete export that is in no database."""
    known: dict[str, Any] = {
        "job_id": job_id,
        "user_id": user_id,
        "type": "framing",
        "config": "{}",
        "input_key": "uploads/match.mp4",
        "output_key": f"exports/{job_id}.mp4",
        "status": Status.COMPLETE,
        "phase": Phase.DONE,
        "sequence": 2,
        "runner": "local",
        "created_at": 0.0,
    }
    return Job(**known | fields)


def build_change(
    kind: EventType,
    job_id: str,
    attempt: int,
    step: int,
    *,
    now: float,
    run: str = "",
    call_id: str | None = None,
    phase: Phase = Phase.PROCESSING,
    progress: float = 50,
    transient: bool = False,
    gpu_seconds: float | None = None,
) -> Change:
    """Return a verified callback, with an output or an error if its type needs one."""
    ended = kind is EventType.FAILED
    report = Report(
        job_id=job_id,
        attempt=attempt,
        step=step,
        call_id=call_id or f"call-{attempt}",
        run=run,
        phase=phase,
        progress=progress,
        message=f"step {step}",
        gpu_seconds=gpu_seconds,
        output=VALID_OUTPUT if kind is EventType.COMPLETED else None,
        error=build_failure(transient=transient) if ended else None,
    )
    return Change(kind, report, now, random=0.5)


def build_failure(*, transient: bool) -> Failure:
    return Failure(code="broken", message="It broke.", transient=transient)


async def write_changes(writer: BatchWriter, *changes: Change) -> list[Outcome]:
    """Submit all changes to a writer whose loop is not running, as one batch."""
    pending = [asyncio.ensure_future(writer.submit(change)) for change in changes]
    await asyncio.sleep(0)  # each has submitted its change
    await writer.drain()
    return [await outcome for outcome in pending]


def ignore_job(_job: Job) -> None:
    """Publish nothing."""


class NoCleanup:
    """The cleanup of a service without runs and outputs."""

    async def stop_attempt(self, job: Job) -> None:
        pass

    async def delete_output(self, job: Job) -> None:
        pass

    def wake_dispatcher(self) -> None:
        pass


class FakeChanges(JobChanges):
    """Gives each job to `on_publish` instead of subscribers.

    `is_wanted` says which jobs have subscribers.
    """

    def __init__(
        self,
        on_publish: Callable[[Job], None] = ignore_job,
        *,
        is_wanted: Callable[[str, str], bool] = lambda _job_id, _user_id: True,
        wake_deliveries: Callable[[Collection[str]], None] = lambda _job_ids: None,
    ) -> None:
        super().__init__(Hub(), JobSerializer(""), NoCleanup(), wake_deliveries=wake_deliveries)
        self._on_publish = on_publish
        self._is_wanted = is_wanted

    def publish(self, job: Job) -> None:
        self._on_publish(job)

    def has_subscribers(self, job_id: str, user_id: str) -> bool:
        return self._is_wanted(job_id, user_id)


async def fetch_jobs(database: Database) -> dict[str, Row]:
    """Return the rows of `export_jobs` by job id."""
    async with database.reading() as session:
        rows = await session.execute(select(models.JOBS).order_by(models.JOBS.c.job_id))
        return {str(row["job_id"]): dict(row) for row in rows.mappings()}


async def fetch_events(database: Database) -> list[Row]:
    """Return the rows of all timelines, oldest first."""
    async with database.reading() as session:
        rows = await session.execute(select(models.EVENTS).order_by(models.EVENTS.c.sequence))
        return [dict(row) for row in rows.mappings()]
