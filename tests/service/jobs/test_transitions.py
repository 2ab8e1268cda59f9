"""The state machine as a table: what each event does to each state, on both databases and both paths.

Events of `callback` run in a batch, those of `service` in a transaction. A cell is the state after the event; `.` and
`200` mean no change, `410` and `503` a refused callback.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from callbacks.envelope import EventType, Report
from infra.database.base import Database
from service.ingest.batch_writer import BatchWriter
from service.ingest.changes import Applied, Outcome, Refusal
from service.jobs import acknowledgements, erasures, finalize_leases, leases, transitions
from service.jobs.models import Job
from service.jobs.retry_rule import Charge
from tests.support import job_factory
from tests.support.job_factory import Row

NOW = 1_000.0
TABLE = """
                   waiting  leased   spawned    running    finalizing complete  failed   cancelled
claim              leased   .        .          .          .          .         .        .
spawned            spawned  spawned  .          .          .          .         .        .
started            running  running  running    running    running    410       410      410
tick               running  running  running    running    running    410       410      410
finalize           finalizing finalizing finalizing finalizing .      .          .         .
completed          complete complete complete   complete   complete   410       410      410
failed             failed   failed   failed     failed     failed     410       410      410
failed_for_now     waiting  waiting  waiting    waiting    waiting    410       410      410
last_step_again    running  running  running    200        200        410       410      410
end_again          complete complete complete   200        200        200       200      410
of_other_call      running  running  410        410        410        410       410      410
end_of_other_call  complete complete 410        410        410        410       410      410
finalize_by_other  finalizing finalizing .      .          .          .         .        .
end_by_finalizer   503      503      503        503        complete   410       410      410
failed_by_other    503      503      503        503        503        410       410      410
of_older_attempt   410      410      410        410        410        410       410      410
of_later_attempt   410      410      410        410        410        410       410      410
lost               waiting  waiting  waiting    waiting    waiting    .         .        .
handed_over        waiting  waiting  waiting    waiting    waiting    .         .        .
interrupted        waiting  waiting  waiting    waiting    waiting    .         .        .
given_up           failed   failed   failed     failed     failed     .         .        .
lost_by_an_older   .        .        .          .          .          .         .        .
cancel             cancelled cancelled cancelled cancelled cancelled  .         .        .
cancel_by_another  .        .        .          .          .          .         .        .
retry              .        .        .          .          .          .         waiting  waiting
retry_by_another   .        .        .          .          .          .         .        .
acknowledge        .        .        .          .          .          complete  failed   cancelled
purge              erased   erased   erased     erased     erased     erased    erased   erased
purge_by_another   .        .        .          .          .          .         .        .
"""
REFUSED = {".": None, "200": None, "410": Refusal.OVER, "503": Refusal.HELD}
UNCOUNTED = {"claim", "acknowledge"}

Event = Callable[[Database, Job], Awaitable[Outcome | None]]
Within = Callable[[AsyncSession, Job], Awaitable[object]]


@pytest.fixture
def database(any_database: Database) -> Database:
    """Each database in turn: both have to do the same with the same statement."""
    return any_database


def callback(
    kind: EventType, *, attempts: int = 0, steps: int = 1, finalizer: str | None = None, **of_report: Any
) -> Event:
    async def run(database: Database, job: Job) -> Outcome:
        attempt, step = job.attempt + attempts, max(1, job.step + steps)
        change = job_factory.build_change(kind, job.job_id, attempt, step, now=NOW, **of_report)
        change = msgspec.structs.replace(change, finalizer=finalizer)
        (outcome,) = await job_factory.write_changes(BatchWriter(database, job_factory.FakeChanges()), change)
        return outcome

    return run


def service(transition: Within) -> Event:
    async def run(database: Database, job: Job) -> None:
        async with database.transaction() as session:
            await transition(session, job)

    return run


def _claim(session: AsyncSession, _job: Job) -> Awaitable[object]:
    return leases.claim(session, slots=9, per_user=9, lease_seconds=30, now=NOW)


def _finalize(session: AsyncSession, job: Job) -> Awaitable[object]:
    return finalize_leases.acquire(
        session, _build_completed_report(job), "finalizer", lease_seconds=30, now=NOW
    )


def _build_completed_report(job: Job, **of_report: Any) -> Report:
    kind = EventType.COMPLETED
    return job_factory.build_change(kind, job.job_id, job.attempt, job.step + 1, now=NOW, **of_report).report


def _requeue(charge: Charge, *, attempts: int = 0) -> Within:
    def requeue(session: AsyncSession, job: Job) -> Awaitable[object]:
        stale = transitions.to_job(_as_row(job) | {"attempt": job.attempt + attempts})
        return transitions.requeue(
            session, stale, "Lost.", reason="run_lost", charge=charge, not_before=0, now=NOW
        )

    return requeue


def _as_row(job: Job) -> Row:
    return {name: getattr(job, name) for name in job.__struct_fields__}


EVENTS: dict[str, Event] = {
    "claim": service(_claim),
    "spawned": service(
        lambda session, job: leases.record_spawn(session, job, f"call-{job.attempt}", now=NOW)
    ),
    "started": callback(EventType.STARTED),
    "tick": callback(EventType.PROGRESS),
    "finalize": service(_finalize),
    "completed": callback(EventType.COMPLETED),
    "failed": callback(EventType.FAILED),
    "failed_for_now": callback(EventType.FAILED, transient=True),
    "last_step_again": callback(EventType.PROGRESS, steps=0),
    "end_again": callback(EventType.COMPLETED, steps=0),
    "of_other_call": callback(EventType.PROGRESS, call_id="call-of-another"),
    "end_of_other_call": callback(EventType.COMPLETED, call_id="call-of-another"),
    "finalize_by_other": service(
        lambda session, job: finalize_leases.acquire(
            session,
            _build_completed_report(job, call_id="call-of-another"),
            "other",
            lease_seconds=30,
            now=NOW,
        )
    ),
    "end_by_finalizer": callback(EventType.COMPLETED, finalizer="finalizer"),
    "failed_by_other": callback(EventType.FAILED, finalizer="other", transient=True),
    "of_older_attempt": callback(EventType.COMPLETED, attempts=-1),
    "of_later_attempt": callback(EventType.COMPLETED, attempts=1),
    "lost": service(_requeue(Charge.FAILURE)),
    "handed_over": service(_requeue(Charge.NOTHING)),
    "interrupted": service(_requeue(Charge.INTERRUPTION)),
    "given_up": service(lambda session, job: transitions.fail(session, job, "lost", "Lost.", now=NOW)),
    "lost_by_an_older": service(_requeue(Charge.FAILURE, attempts=-1)),
    "cancel": service(lambda session, job: transitions.cancel(session, "ada", job.job_id, now=NOW)),
    "cancel_by_another": service(
        lambda session, job: transitions.cancel(session, "eve", job.job_id, now=NOW)
    ),
    "retry": service(lambda session, job: transitions.retry(session, "ada", job.job_id, attempts=3, now=NOW)),
    "retry_by_another": service(
        lambda session, job: transitions.retry(session, "eve", job.job_id, attempts=3, now=NOW)
    ),
    "purge": service(lambda session, job: erasures.purge(session, "ada", [job.job_id])),
    "purge_by_another": service(lambda session, job: erasures.purge(session, "eve", [job.job_id])),
    "acknowledge": service(
        lambda session, job: acknowledgements.acknowledge(session, "ada", [job.job_id], now=NOW)
    ),
}
EVENTS_TO_STATE = {
    "waiting": [],
    "leased": ["claim"],
    "spawned": ["claim", "spawned"],
    "running": ["claim", "spawned", "started", "tick"],
    "finalizing": ["claim", "spawned", "started", "tick", "finalize"],
    "complete": ["claim", "spawned", "started", "completed"],
    "failed": ["claim", "spawned", "started", "failed"],
    "cancelled": ["claim", "spawned", "started", "cancel"],
}


def state_of(row: Row) -> str:
    """Return the table's name for the state of a row."""
    match row["status"], row["phase"]:
        case "pending", _:
            return "spawned" if row["call_id"] else "leased" if row["lease_until"] else "waiting"
        case "processing", phase:
            return "finalizing" if phase == "finalizing" else "running"
        case status, _:
            return "failed" if status == "error" else str(status)


def cells() -> list[tuple[str, str, str]]:
    head, *lines = (line.split() for line in TABLE.strip().splitlines())
    return [(state, line[0], cell) for line in lines for state, cell in zip(head, line[1:], strict=True)]


@pytest.mark.parametrize(("state", "event", "expected"), cells(), ids=str)
async def test_an_event_does_to_a_state_what_the_table_says(
    state: str, event: str, expected: str, database: Database
) -> None:
    job = await second_attempt_in(state, database)
    before = (await job_factory.fetch_jobs(database))[job.job_id]
    events_before = await job_factory.fetch_events(database)

    outcome = await EVENTS[event](database, job)

    rows = await job_factory.fetch_jobs(database)
    if expected == "erased":
        assert (rows, await job_factory.fetch_events(database)) == ({}, [])
        return
    after = rows[job.job_id]
    if expected in REFUSED:
        refused = Applied(job.sequence) if expected == "200" else REFUSED[expected]
        assert outcome == refused
        assert after == before
        assert await job_factory.fetch_events(database) == events_before
        return
    assert state_of(after) == expected
    assert after["sequence"] == job.sequence + (event not in UNCOUNTED)
    if isinstance(outcome, Applied):
        moved = after["transition_sequence"] == after["sequence"]
        applied = Applied(job.sequence + 1, "ada", transitions.to_job(after) if moved else None)
        assert msgspec.structs.replace(outcome, cost=None) == applied


async def second_attempt_in(state: str, database: Database) -> Job:
    """Create a job in its second of three attempts, and bring it into a state by events."""
    async with database.transaction() as session:
        submission = job_factory.submission_for("job-1")
        job = await transitions.submit(session, submission, runner="local", attempt_limit=3, now=NOW - 9)
    for event in ["lost", *EVENTS_TO_STATE[state]]:
        await EVENTS[event](database, job)
        job = transitions.to_job((await job_factory.fetch_jobs(database))[job.job_id])
    assert (state_of(_as_row(job)), job.attempt) == (state, 2)
    return job


async def test_a_tick_that_comes_late_does_not_undo_finalizing(database: Database) -> None:
    job = await second_attempt_in("running", database)
    change = job_factory.build_change(EventType.COMPLETED, job.job_id, job.attempt, job.step + 2, now=NOW)
    async with database.transaction() as session:
        await finalize_leases.acquire(session, change.report, "finalizer", lease_seconds=30, now=NOW)
    before = await job_factory.fetch_jobs(database)

    outcome = await callback(EventType.PROGRESS)(database, job)

    assert outcome == Applied(job.sequence + 1)
    assert await job_factory.fetch_jobs(database) == before


async def test_a_later_run_of_an_attempt_takes_over_from_the_one_before(database: Database) -> None:
    job = await second_attempt_in("running", database)

    async def post_tick(run: str, step: int) -> Outcome:
        change = job_factory.build_change(EventType.PROGRESS, job.job_id, job.attempt, step, run=run, now=NOW)
        return (await job_factory.write_changes(BatchWriter(database, job_factory.FakeChanges()), change))[0]

    assert isinstance(await post_tick("0b", 1), Applied)
    before = await job_factory.fetch_jobs(database)
    assert await post_tick("0a", 9) is Refusal.OVER
    assert await post_tick("", 9) is Refusal.OVER
    assert await post_tick("0b", 1) == Applied(job.sequence + 1)
    assert await job_factory.fetch_jobs(database) == before


async def test_transient_failures_end_with_the_allowance_and_a_retry_brings_a_new_one(
    database: Database,
) -> None:
    async with database.transaction() as session:
        submission = job_factory.submission_for("job-1")
        job = await transitions.submit(session, submission, runner="local", attempt_limit=3, now=NOW)
    seen = []
    for _ in range(2):
        for _ in range(3):
            await EVENTS["failed_for_now"](database, job)
            job = transitions.to_job((await job_factory.fetch_jobs(database))[job.job_id])
            seen.append((job.attempt, str(job.status)))
        await EVENTS["retry"](database, job)
        job = transitions.to_job((await job_factory.fetch_jobs(database))[job.job_id])
    assert seen == [
        *((2, "pending"), (3, "pending"), (3, "error")),
        *((5, "pending"), (6, "pending"), (6, "error")),
    ]


async def test_claims_take_turns_over_users_and_stop_at_each_user_s_limit(database: Database) -> None:
    async with database.transaction() as session:
        for number, user in enumerate(["ada", "ada", "ada", "ada", "bob", "eve"]):
            submission = job_factory.submission_for(f"job-{number}", user)
            await transitions.submit(session, submission, runner="local", attempt_limit=3, now=NOW)

    async def claim_jobs(slots: int) -> set[str]:
        async with database.transaction() as session:
            jobs = await leases.claim(session, slots=slots, per_user=3, lease_seconds=30, now=NOW)
            return {job.job_id for job in jobs}

    assert [await claim_jobs(3), await claim_jobs(1), await claim_jobs(9), await claim_jobs(9)] == [
        {"job-0", "job-4", "job-5"},
        {"job-1"},
        {"job-2"},
        set(),
    ]
