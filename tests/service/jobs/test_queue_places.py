"""Where a waiting job is in the queue: the order and the times of the claims to come; on both databases."""

from collections import Counter
from dataclasses import replace

import pytest

from infra.database.base import Database
from service.jobs.queue.fair_share import ReadyJob, Share
from service.jobs.queue.head import HEAD_JOBS, QueueHead, Slot, WaitingUser, read_head
from service.jobs.queue.places import Capacity, Limit, Places, foresee_places
from tests.service.jobs.simulated_queue import Queue

NOW = 1_000_000.0
RUN_SECONDS = 10.0


async def look(queue: Queue, *, per_user: int = 100) -> Places:
    async with queue.database.reading() as session:
        head = await read_head(session, priority_seconds=0.0, now=queue.now)
    return foresee_places(replace(head, run_seconds=RUN_SECONDS), Capacity(queue.slots, per_user))


def build_user(user: str, count: int, *, slots: int = 0) -> WaitingUser:
    jobs = tuple(ReadyJob(f"{user}-{number}", float(number), "normal") for number in range(count))
    return WaitingUser(user, Share(slots), jobs)


def build_slot(job_id: str, user: str, *, started: float | None = None, spawned: float = NOW) -> Slot:
    return Slot(job_id, user, started is not None, NOW, spawned, started, None)


@pytest.mark.parametrize("slots", [1, 2])
async def test_jobs_start_in_the_order_of_their_positions(any_database: Database, slots: int) -> None:
    queue = Queue(any_database, slots, per_user=2)
    await queue.submit("ada", 4)
    await queue.claim()
    await queue.work(RUN_SECONDS)
    for user, count in (("bob", 2), ("ada", 3), ("cid", 2)):
        await queue.submit(user, count)
    places = await look(queue, per_user=2)
    foreseen = sorted(places.by_job, key=lambda job_id: places.by_job[job_id].position)
    foreseen = [job_id for job_id in foreseen if job_id not in queue.running]
    started = len(queue.started)
    while queue.running:
        await queue.work(RUN_SECONDS)
    assert [job.job_id for job in queue.started[started:]] == foreseen
    assert len(foreseen) == 11 - started


async def test_a_look_changes_nothing_and_sees_what_the_next_claim_will_charge(
    any_database: Database,
) -> None:
    queue = Queue(any_database, 1)
    await queue.submit("ada", 1)
    await queue.claim()
    queue.now += 200
    await queue.complete(next(iter(queue.running)))
    await queue.submit("ada", 1)  # it came first, and its user was served
    await queue.submit("bob", 1)
    for _ in range(2):
        places = await look(queue)
        assert {job_id: place.position for job_id, place in places.by_job.items()} == {
            "job-000001": 2,
            "job-000002": 1,
        }
    assert [job.user_id for job in await queue.claim()] == ["bob"]


@pytest.mark.parametrize("step", [86_400.0, -86_400.0], ids=["forward", "back"])
async def test_a_step_of_the_clock_moves_no_start_by_more_than_a_run(
    any_database: Database, step: float
) -> None:
    queue = Queue(any_database, 1)
    for user in ("ada", "bob"):
        await queue.submit(user)
    (running,) = await queue.claim()
    await queue.report(running.job_id, 1, 0.0)
    queue.now += 4
    await queue.report(running.job_id, 2, 4.0)
    assert (await look(queue)).by_job["job-000001"].seconds == 6.0
    queue.now += step
    for number, worked in enumerate((4.0, 5.0)):
        seconds = (await look(queue)).by_job["job-000001"].seconds
        assert seconds is not None
        assert 0.0 <= seconds <= RUN_SECONDS
        await queue.report(running.job_id, 3 + number, worked)
    assert (await look(queue)).by_job["job-000001"].seconds == (5.0 if step > 0 else RUN_SECONDS)


async def test_a_look_reads_no_more_than_the_head_of_long_queues(any_database: Database) -> None:
    queue = Queue(any_database, 1)
    await queue.submit("ada", HEAD_JOBS + 20)
    await queue.submit("bob", 1)
    places = await look(queue)
    assert len(places.by_job) == HEAD_JOBS
    assert places.by_job["job-000220"].position == 2, "the other user's turn is next"
    assert places.estimate("more", "ada").position == HEAD_JOBS + 1
    assert places.estimate("later", "new").position == 3, (
        "a new user comes before the second turns of the others"
    )


def test_times_follow_from_the_runs_and_limits_from_what_is_full() -> None:
    runs = (build_slot("run-1", "ada", started=NOW - 10), build_slot("run-2", "bob", started=NOW - 20))
    users = (build_user("ada", 2, slots=1), build_user("bob", 2, slots=1))
    places = foresee_places(QueueHead(NOW, runs, users, run_seconds=30.0), Capacity(2, 1))
    assert {job_id: (place.seconds, place.limit) for job_id, place in places.by_job.items()} == {
        "bob-0": (10.0, Limit.OWN_RUNS),
        "ada-0": (20.0, Limit.OWN_RUNS),
        "bob-1": (40.0, Limit.OWN_RUNS),
        "ada-1": (50.0, Limit.OWN_RUNS),
    }
    shared = foresee_places(QueueHead(NOW, runs, users, run_seconds=30.0), Capacity(2, 9))
    assert {place.limit for place in shared.by_job.values()} == {Limit.RUNNER}
    assert [place.seconds for place in shared.by_job.values()] == [10.0, 20.0, 40.0, 50.0]


def test_free_slots_start_jobs_now_and_the_own_limit_delays_the_rest() -> None:
    places = foresee_places(QueueHead(NOW, (), (build_user("ada", 3),), 30.0), Capacity(4, 2))
    assert [(place.seconds, place.limit) for place in places.by_job.values()] == [
        (0.0, None),
        (0.0, None),
        (30.0, Limit.OWN_RUNS),
    ]
    assert places.estimate("later", "new")[1:] == (0.0, None)


def test_jobs_that_come_between_two_looks_count_in_the_estimates_of_later_ones() -> None:
    run = build_slot("run", "cid", started=NOW)
    places = foresee_places(QueueHead(NOW, (run,), (), 30.0), Capacity(3, 4))
    arrivals = ("ada", "ada", "ada", "bob", "cid", "ada")
    estimates = [places.estimate(f"job-{number}", user) for number, user in enumerate(arrivals)]
    assert [place.position for place in estimates] == [1, 2, 3, 2, 4, 6]
    assert [place.seconds for place in estimates] == [0.0, 0.0, None, 0.0, None, None]
    assert places.estimate("job-2", "ada") == estimates[2], "asking again changes nothing"


def test_no_time_is_given_before_a_run_has_been_seen() -> None:
    places = foresee_places(QueueHead(NOW, (), (build_user("ada", 2),), None), Capacity(1, 4))
    assert [(place.seconds, place.limit) for place in places.by_job.values()] == [
        (0.0, None),
        (None, Limit.RUNNER),
    ]


def test_what_a_run_expects_counts_more_than_the_usual_time() -> None:
    run = build_slot("run-1", "ada", started=NOW - 10)._replace(left_seconds=3.0)
    places = foresee_places(QueueHead(NOW, (run,), (build_user("ada", 1, slots=1),), 30.0), Capacity(1, 4))
    assert places.by_job["ada-0"].seconds == 3.0


def test_each_run_takes_its_own_forecast() -> None:
    run = build_slot("run-1", "ada", started=NOW - 10)._replace(forecast_seconds=25.0)
    long, short = ReadyJob("long", 0.0, "normal", 100.0), ReadyJob("short", 1.0, "normal", 5.0)
    users = (WaitingUser("bob", Share(), (long,)), WaitingUser("cid", Share(), (short,)))
    places = foresee_places(QueueHead(NOW, (run,), users, None), Capacity(1, 4))
    assert [place.seconds for place in places.by_job.values()] == [15.0, 115.0]
    unknown = (WaitingUser("bob", Share(), (long._replace(forecast_seconds=None),)),)
    places = foresee_places(QueueHead(NOW, (run,), unknown, None), Capacity(1, 4))
    assert places.by_job["long"].seconds is None


def test_calls_that_modal_does_not_start_wait_for_its_runs() -> None:
    slots = (
        build_slot("run", "ada", started=NOW - 10),
        build_slot("second", "bob", spawned=NOW - 20),
        build_slot("first", "bob", spawned=NOW - 30),
    )
    users = (build_user("cid", 1),)
    places = foresee_places(QueueHead(NOW, slots, users, 30.0), Capacity(None, 4))
    assert [(job_id, place.seconds, place.limit) for job_id, place in places.by_job.items()] == [
        ("first", 20.0, Limit.RUNNER),
        ("second", 50.0, Limit.RUNNER),
        ("cid-0", 20.0, Limit.RUNNER),
    ]
    fresh = foresee_places(QueueHead(NOW, (build_slot("new", "ada"),), users, 30.0), Capacity(None, 4))
    assert [(place.position, place.seconds, place.limit) for place in fresh.by_job.values()] == [
        (1, 0.0, None),
        (2, 0.0, None),
    ]


def test_calls_of_a_runner_that_runs_nothing_have_no_time() -> None:
    places = foresee_places(
        QueueHead(NOW, (build_slot("first", "ada", spawned=NOW - 60),), (), 30.0), Capacity(None, 4)
    )
    assert places.by_job["first"] == (1, None, Limit.RUNNER)
    assert places.estimate("later", "bob").seconds is None


def test_no_user_is_foreseen_to_have_more_runs_than_it_may() -> None:
    users = tuple(build_user(f"user-{number}", 9) for number in range(3))
    places = foresee_places(QueueHead(NOW, (), users, 10.0), Capacity(4, 2))
    at: dict[float | None, Counter[str]] = {}
    for job_id, place in places.by_job.items():
        at.setdefault(place.seconds, Counter())[job_id.rpartition("-")[0]] += 1
    assert len(at) == 7
    assert all(max(counts.values()) <= 2 and counts.total() <= 4 for counts in at.values())
