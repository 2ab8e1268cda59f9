"""A priority is a head start of limited time, among a user's own exports and between users; on both databases."""

from dataclasses import replace

import pytest

from infra.database.base import Database
from service.costs import holds
from service.costs.days import day_of, end_of
from service.jobs import leases, transitions
from service.jobs.models import Job
from service.jobs.queue.priorities import Priority
from tests.support import job_factory

pytestmark = pytest.mark.anyio

HEAD_START = 600.0
NOW = 1_000_000.0


async def submit(
    database: Database,
    job_id: str,
    priority: Priority,
    *,
    at: float,
    user: str = "ada",
    scheduled_at: float | None = None,
) -> None:
    submission = replace(
        job_factory.submission_for(job_id, user), priority=priority, scheduled_at=scheduled_at
    )
    async with database.transaction() as session:
        await transitions.submit(
            session, submission, runner="local", attempt_limit=3, head_start_seconds=HEAD_START, now=at
        )


async def claim(database: Database, *, slots: int, at: float, priority_seconds: float = 0) -> list[Job]:
    async with database.transaction() as session:
        return await leases.claim(
            session, slots=slots, per_user=99, priority_seconds=priority_seconds, lease_seconds=30, now=at
        )


async def list_start_order(database: Database, *, at: float) -> list[str]:
    return [job.job_id for job in await claim(database, slots=9, at=at)]


async def test_a_user_s_exports_start_by_priority_and_then_by_age(any_database: Database) -> None:
    for number, priority in enumerate((Priority.LOW, Priority.NORMAL, Priority.HIGH, Priority.HIGH)):
        await submit(any_database, f"{number}-{priority}", priority, at=NOW + number)
    assert await list_start_order(any_database, at=NOW + 9) == ["2-high", "3-high", "1-normal", "0-low"]


@pytest.mark.parametrize(
    ("age", "first"),
    [
        pytest.param(HEAD_START - 1, "later", id="younger than the head start"),
        pytest.param(HEAD_START + 1, "waiting", id="older than the head start"),
    ],
)
async def test_an_export_waits_for_higher_priorities_no_longer_than_their_head_start(
    any_database: Database, age: float, first: str
) -> None:
    await submit(any_database, "waiting", Priority.NORMAL, at=NOW)
    await submit(any_database, "later", Priority.HIGH, at=NOW + age)
    assert (await list_start_order(any_database, at=NOW + age))[0] == first


@pytest.mark.parametrize(("priority_seconds", "first"), [(0, "bob"), (60, "ada")])
async def test_between_users_a_priority_is_worth_what_the_operator_allows(
    any_database: Database, priority_seconds: float, first: str
) -> None:
    """Ada has been served for 10 s, Bob not at all."""
    await submit(any_database, "served", Priority.NORMAL, at=NOW)
    (served,) = await claim(any_database, slots=1, at=NOW)
    async with any_database.transaction() as session:
        assert await transitions.fail(session, served, "broken", "It broke.", now=NOW + 10)
    await submit(any_database, "urgent", Priority.HIGH, at=NOW + 11)
    await submit(any_database, "other", Priority.NORMAL, at=NOW + 11, user="bob")
    (claimed,) = await claim(any_database, slots=1, at=NOW + 12, priority_seconds=priority_seconds)
    assert claimed.user_id == first


async def test_a_user_who_only_sends_high_priorities_starves_nobody(any_database: Database) -> None:
    for number in range(40):
        await submit(any_database, f"urgent-{number:02}", Priority.HIGH, at=NOW)
    await submit(any_database, "other", Priority.LOW, at=NOW, user="bob")
    now, started = NOW, list[str]()
    while "other" not in started:
        assert len(started) < 20
        (job,) = await claim(any_database, slots=1, at=now, priority_seconds=60)
        started.append(job.job_id)
        now += 10
        async with any_database.transaction() as session:
            await transitions.fail(session, job, "broken", "It broke.", now=now)


async def test_a_scheduled_export_starts_at_its_time_and_holds_up_no_other(any_database: Database) -> None:
    await submit(any_database, "scheduled", Priority.HIGH, at=NOW, scheduled_at=NOW + 3_600)
    await submit(any_database, "ready", Priority.LOW, at=NOW + 1)
    assert await list_start_order(any_database, at=NOW + 3_599) == ["ready"]
    assert await list_start_order(any_database, at=NOW + 3_600) == ["scheduled"]


async def test_a_schedule_is_no_pause_that_a_step_of_the_clock_made(any_database: Database) -> None:
    await submit(any_database, "scheduled", Priority.NORMAL, at=NOW, scheduled_at=NOW + 3_600)
    async with any_database.transaction() as session:
        await leases.end_long_pauses(session, now=NOW)
    assert await list_start_order(any_database, at=NOW) == []


@pytest.mark.parametrize(("ahead_days", "started"), [(0, []), (1, ["held"])])
async def test_a_budget_of_a_day_that_was_ahead_holds_nothing_once_the_clock_is_set_back(
    any_database: Database, ahead_days: int, started: list[str]
) -> None:
    await submit(any_database, "held", Priority.NORMAL, at=NOW)
    day = day_of(NOW) + ahead_days
    async with any_database.transaction() as session:
        assert await holds.hold(session, None, lambda _user: "The budget is used up.", until=end_of(day))
    async with any_database.transaction() as session:
        await leases.end_long_pauses(session, now=NOW)
    assert await list_start_order(any_database, at=NOW) == started
