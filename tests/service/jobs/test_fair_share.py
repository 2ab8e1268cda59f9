"""Fair share: the least served user is next, however long the queues are; on both databases."""

import asyncio
import itertools
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st
from sqlalchemy import event

from infra.database.base import Database
from infra.database.factory import open_database
from infra.database.sqlite import SqliteDatabase
from service.jobs import leases
from service.jobs.models import Job
from service.jobs.queue.fair_share import HALF_LIFE_SECONDS
from tests.conftest import delete_all_rows, open_empty_database
from tests.service.jobs.simulated_queue import LEASE_SECONDS, Queue
from tests.support import job_factory

PER_USER = 3


@pytest.mark.parametrize("slots", [1, 2, 3])
async def test_a_new_user_s_export_starts_with_the_next_free_place(
    any_database: Database, slots: int
) -> None:
    queue = Queue(any_database, slots)
    others = [f"user-{number}" for number in range(slots)]
    for user in others:
        await queue.submit(user, 60)
    await queue.claim()
    for _ in range(4):
        await queue.work(7)
    await queue.submit("new")
    queue.now += 7
    await queue.complete(next(iter(queue.running)))
    assert [job.user_id for job in await queue.claim()] == ["new"]


async def test_users_take_turns_whose_queues_are_of_different_ages_and_lengths(
    any_database: Database,
) -> None:
    queue = Queue(any_database, 1)
    await queue.submit("ada", 60)
    await queue.claim()
    await queue.submit("bob", 6)
    served = [user for _ in range(12) for user in await queue.work(20)]
    assert Counter(served) == {"ada": 6, "bob": 6}
    assert all(pair != ("ada", "ada") for pair in itertools.pairwise(served))


async def test_who_held_all_places_with_long_exports_has_been_served(any_database: Database) -> None:
    """Long exports count by their time: fewer and older starts, but an hour of both slots."""
    queue = Queue(any_database, 2)
    await queue.submit("short", 3)
    await queue.claim()
    await queue.work(5)
    await queue.work(5)
    await queue.submit("long", 9)
    await queue.claim()
    await queue.submit("short", 9)
    queue.now += 3_600
    for job_id in list(queue.running):
        await queue.complete(job_id)
    queue.slots = 1
    assert [job.user_id for job in await queue.claim()] == ["short"]


async def test_time_is_shared_and_not_starts(any_database: Database) -> None:
    queue = Queue(any_database, 1)
    await queue.submit("long", 20)
    await queue.submit("short", 60)
    seconds: Counter[str] = Counter()
    (job,) = await queue.claim()
    for _ in range(50):
        lasts = 60 if job.user_id == "long" else 10
        seconds[job.user_id] += lasts
        queue.now += lasts
        await queue.complete(job.job_id)
        (job,) = await queue.claim()
    assert 0.5 < seconds["long"] / seconds["short"] < 2.2


async def test_service_is_forgotten_in_time(any_database: Database) -> None:
    queue = Queue(any_database, 1)
    await queue.submit("ada", 3)
    await queue.claim()
    await queue.work(100)
    await queue.work(100)
    queue.now += 30 * HALF_LIFE_SECONDS
    for job_id in list(queue.running):
        await queue.complete(job_id)
    queue.now += 20 * HALF_LIFE_SECONDS
    await queue.submit("ada")
    await queue.submit("new")
    assert [job.user_id for job in await queue.claim()] == ["ada"], "the first come, for both are new"


async def test_exports_of_a_user_start_in_the_order_in_which_they_came(any_database: Database) -> None:
    queue = Queue(any_database, 3, per_user=2)
    for user in ("ada", "bob", "ada", "bob", "ada"):
        await queue.submit(user, 2)
    await queue.claim()
    while queue.running:
        await queue.work(5)
    for user, job_ids in queue.submitted.items():
        assert [job.job_id for job in queue.started if job.user_id == user] == job_ids


async def test_replicas_that_claim_at_the_same_time_keep_each_user_s_limit(postgresql_url: str) -> None:
    first = await open_empty_database(postgresql_url)
    others = [open_database(postgresql_url) for _ in range(3)]
    queue = Queue(first, 2)
    for user in ("ada", "bob"):
        await queue.submit(user, 20)

    async def claim(database: Database) -> list[Job]:
        async with database.transaction() as session:
            return await leases.claim(
                session, slots=2, per_user=PER_USER, lease_seconds=LEASE_SECONDS, now=queue.now
            )

    try:
        claims = await asyncio.gather(*(claim(database) for database in (first, *others)))
    finally:
        for database in (first, *others):
            await database.close()
        await delete_all_rows(postgresql_url)
    assert [sorted(job.user_id for job in claimed) for claimed in claims].count(["ada", "bob"]) == 3
    assert Counter(job.user_id for claimed in claims for job in claimed) == {"ada": 3, "bob": 3}


# Generated arrivals

users = st.sampled_from(["ada", "bob", "cid", "dan", "eve"])
acts = st.one_of(
    st.tuples(st.just("submit"), users, st.integers(1, 12)),
    st.tuples(st.just("complete"), st.integers(0, 9), st.floats(0, 400)),
    st.tuples(st.just("complete"), st.integers(0, 9), st.floats(0, 400)),
    st.tuples(st.just("lose"), st.integers(0, 9), st.floats(0, 40)),
    st.tuples(st.just("wait"), st.just(0), st.floats(0, 2_000)),
)


class CheckedQueue(Queue):
    """Check the rules of fair share at each claim."""

    def __init__(self, database: Database, slots: int, *, per_user: int = 100) -> None:
        super().__init__(database, slots, per_user=per_user)
        self.served_at: dict[str, float] = {}

    async def claim(self) -> list[Job]:
        before = await job_factory.fetch_jobs(self.database)
        for job in self.started:
            if job.job_id in self.running or before[job.job_id]["completed_at"] == self.now:
                self.served_at[job.user_id] = self.now
        running = Counter(job.user_id for job in self.running.values())
        free = self.slots - len(self.running)
        ready: dict[str, list[str]] = defaultdict(list)
        for job_id, row in sorted(before.items()):
            waits = row["status"] == "pending" and row["call_id"] is None
            if waits and float(str(row["not_before"])) <= self.now:
                ready[str(row["user_id"])].append(job_id)
        served = {job.user_id for job in self.started}
        claimed = await super().claim()
        for job in claimed:
            self._check_selection(job, ready, running, served)
            ready[job.user_id].pop(0)
            running[job.user_id] += 1
            served.add(job.user_id)
            free -= 1
        eligible = [user for user, line in ready.items() if line and running[user] < self.per_user]
        assert free == 0 or not eligible, "no slot stays free while a user may have it"
        return claimed

    def _check_selection(
        self, job: Job, ready: dict[str, list[str]], running: Counter[str], served: set[str]
    ) -> None:
        assert job.job_id == ready[job.user_id][0], "first come, first served within a user"
        assert running[job.user_id] < self.per_user
        waiting = [user for user, line in ready.items() if line and running[user] < self.per_user]
        assert running[job.user_id] == min(running[user] for user in waiting), (
            "the user with fewer running exports is first"
        )
        new = [user for user in waiting if user not in served]
        # Later even the service of a start, which is the least, may be negligible.
        is_remembered = self.now - self.served_at.get(job.user_id, self.now) <= 3 * HALF_LIFE_SECONDS
        assert not new or job.user_id in new or not is_remembered, (
            "a user who was never served is before all others"
        )


@pytest.mark.parametrize(
    ("kind", "examples"),
    [pytest.param("sqlite", 25, id="sqlite"), pytest.param("postgresql", 10, id="postgresql")],
)
def test_whatever_arrives_a_new_user_is_next_and_nobody_is_passed_over(
    kind: str, examples: int, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(f"{kind}_url")

    async def play(script: list[tuple[str, Any, Any]], slots: int, per_user: int) -> None:
        database = await open_empty_database(url)
        try:
            await follow(CheckedQueue(database, slots, per_user=per_user), script)
        finally:
            await database.close()
            await delete_all_rows(url)

    @hypothesis.settings(max_examples=examples)
    @hypothesis.given(st.lists(acts, min_size=5, max_size=40), st.integers(1, 4), st.integers(1, 4))
    def check(script: list[tuple[str, Any, Any]], slots: int, per_user: int) -> None:
        asyncio.run(play(script, slots, per_user))

    check()


async def follow(queue: Queue, script: list[tuple[str, Any, Any]]) -> None:
    """Play a script, claim after each act, and complete what is left."""
    for act, which, much in script:
        if act == "submit":
            await queue.submit(which, much)
        else:
            queue.now += much
            if act != "wait" and queue.running:
                job_id = list(queue.running)[which % len(queue.running)]
                await (queue.complete(job_id) if act == "complete" else queue.lose(job_id))
        await queue.claim()
    queue.now += 100
    await queue.claim()
    while queue.running:
        await queue.work(10)
    assert {job.job_id for job in queue.started} == {job for each in queue.submitted.values() for job in each}


# What a claim costs


async def count_steps(database: SqliteDatabase, work: Callable[[], Awaitable[object]]) -> int:
    """Count the instructions of SQLite's virtual machine, in hundreds, that some work takes."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    def watch(connection: Any, _record: object, _proxy: object) -> None:
        connection.driver_connection._conn.set_progress_handler(count, 100)

    event.listen(database._writer.sync_engine, "checkout", watch)
    await work()
    event.remove(database._writer.sync_engine, "checkout", watch)
    return steps


async def test_a_claim_costs_the_same_however_long_the_queues_and_the_history_are(
    database: SqliteDatabase,
) -> None:
    queue = Queue(database, 4, per_user=4)
    for user in ("ada", "bob", "cid"):
        await queue.submit(user, 20)
    await queue.claim()
    few = await count_steps(database, lambda: queue.work(5))
    for user in ("ada", "bob", "cid"):
        await queue.submit(user, 1_000)
    many = await count_steps(database, lambda: queue.work(5))
    assert 0 < many <= few + 5
