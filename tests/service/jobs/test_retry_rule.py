"""Retries: the same time and the same row whether the run or the service reports the failure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callbacks.envelope import EventType
from infra.database.base import Database
from service.dispatch.attempt_failures import AttemptFailure, end_attempt
from service.ingest.batch_writer import BatchWriter
from service.jobs import leases, transitions
from service.jobs.models import Job
from service.jobs.retry_rule import retry_at
from tests.support import job_factory
from tests.support.job_factory import Row

NOW = 1_000.0
OF_A_REPORT = {"run", "step", "heartbeat_at", "gpu_seconds", "gpu_seconds_before", "call_id"}
"""Columns that only a report can set."""


@pytest.mark.parametrize(
    ("attempt", "shortest", "longest"),
    [
        pytest.param(1, 2, 4, id="first"),
        pytest.param(2, 4, 8, id="second"),
        pytest.param(9, 15, 30, id="after many"),
        pytest.param(2**31 - 1, 15, 30, id="after more than any export has"),
    ],
)
def test_the_pause_after_a_failed_attempt_grows_and_has_an_end(
    attempt: int, shortest: float, longest: float
) -> None:
    assert [retry_at(attempt, NOW, random) - NOW for random in (0, 1)] == [longest, shortest]


@given(st.integers(1, 2**31), st.floats(0, 2e9), st.floats(0, 1), st.floats(0, 1))
def test_a_pause_is_never_longer_for_a_greater_random_number_nor_shorter_than_half(
    attempt: int, now: float, first_random: float, second_random: float
) -> None:
    first, second = (retry_at(attempt, now, random) for random in sorted((first_random, second_random)))
    assert now < second <= first <= now + 30
    assert first - now <= 2 * (second - now) + 1e-6


async def report_failure(database: Database, job: Job, retryable: bool) -> None:
    """Let the run report a failure."""
    change = job_factory.build_change(
        EventType.FAILED, job.job_id, job.attempt, job.step + 1, now=NOW, transient=retryable
    )
    await job_factory.write_changes(BatchWriter(database, job_factory.FakeChanges()), change)


async def lose_attempt(database: Database, job: Job, retryable: bool) -> None:
    """Let the service find the run lost."""
    failure = AttemptFailure("broken", "It broke.", retryable)
    async with database.transaction() as session:
        await end_attempt(session, job, failure, now=NOW, jitter=0.5)


async def start_job(database: Database, name: str, *, attempts: int) -> Job:
    """Create a job whose run has reported twice, with a value in every column that a transition resets."""
    async with database.transaction() as session:
        job = await transitions.submit(
            session, job_factory.submission_for(name), runner="local", attempt_limit=attempts, now=NOW - 9
        )
        await leases.claim(session, slots=1, per_user=99, lease_seconds=30, now=NOW - 8)
        assert await leases.record_spawn(session, job, f"call-{job.attempt}", now=NOW - 7)
    writer = BatchWriter(database, job_factory.FakeChanges())
    for step, kind in enumerate((EventType.STARTED, EventType.PROGRESS), 1):
        await job_factory.write_changes(
            writer, job_factory.build_change(kind, name, job.attempt, step, now=NOW - 5)
        )
    return transitions.to_job((await job_factory.fetch_jobs(database))[name])


def drop_own_columns(row: Row) -> Row:
    ignored = {"job_id", "output_key", "not_before"} | OF_A_REPORT
    return {name: value for name, value in row.items() if name not in ignored}


@pytest.mark.parametrize(
    ("retryable", "attempts", "status"),
    [
        pytest.param(True, 3, "pending", id="that may pass"),
        pytest.param(True, 1, "error", id="that may pass, in the last attempt"),
        pytest.param(False, 3, "error", id="for good"),
    ],
)
async def test_a_failure_does_the_same_to_a_job_whoever_found_it(
    any_database: Database, retryable: bool, attempts: int, status: str
) -> None:
    rows = []
    for name, fail in (("by-run", report_failure), ("by-service", lose_attempt)):
        job = await start_job(any_database, name, attempts=attempts)
        await fail(any_database, job, retryable)
        rows.append((await job_factory.fetch_jobs(any_database))[name])
    assert [row["status"] for row in rows] == [status, status]
    assert drop_own_columns(rows[0]) == drop_own_columns(rows[1])
    timelines = [
        [
            (event["sequence"], event["message"])
            for event in await job_factory.fetch_events(any_database)
            if event["job_id"] == name
        ]
        for name in ("by-run", "by-service")
    ]
    assert timelines[0] == timelines[1]
    if status == "pending":
        for row in rows:
            assert NOW + 2 <= float(str(row["not_before"])) <= NOW + 4
            assert row["message"] == "It broke. Trying again."
