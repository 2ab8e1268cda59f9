"""Watchers of a waiting export hear of its place when it changes, seldom, and without a change of the export."""

import json
from typing import Any

import pytest

from infra.database.base import Database
from service.clock import Clock
from service.dispatch.observation import Limits
from service.dispatch.queue_board import QueueBoard
from service.dispatch.queue_updates import UPDATE_SECONDS, QueueUpdates
from service.dispatch.runners import RunnerReadiness, RunnerRefused
from service.fanout.hub import Hub
from service.fanout.publications import publication_of
from service.fanout.subscribers import Subscriber
from service.jobs import queries
from service.jobs.queue.observed_waits import ObservedWaits
from service.jobs.serializers import JobSerializer
from tests.service.jobs.simulated_queue import Queue
from tests.support.fakes import FakeRunner


class Watching:
    """A simulated queue, looked at by a test, and subscribers."""

    def __init__(self, database: Database) -> None:
        self.queue = Queue(database, 1)
        self.hub = Hub()
        runner, clock = FakeRunner(slots=1), Clock(lambda: self.queue.now, lambda: self.queue.now)
        self.readiness = RunnerReadiness(runner, clock)
        limits = Limits(per_user=9, deadline_seconds=60, queue_seconds=60, silence_seconds=60)
        waits = ObservedWaits(lambda _foreseen, _seconds: None)
        self.board = QueueBoard(database, runner, self.readiness, limits, clock, waits)
        self.serializer = JobSerializer("", self.board.describe)
        self.updates = QueueUpdates(database, self.board, self.hub, self.serializer)

    async def look(self, *, after: float = 2.0) -> None:
        self.queue.now += after
        await self.board.refresh()
        await self.updates.send_changes(self.queue.now)

    async def publish(self, job_id: str) -> None:
        async with self.queue.database.reading() as session:
            job = await queries.get_any(session, job_id)
        assert job is not None
        self.hub.publish(publication_of(self.serializer, job))


def take(subscriber: Subscriber) -> list[tuple[str, str, int]]:
    """Return what the subscriber has not delivered: job, type and position of each."""
    taken = []
    while subscriber._pending:
        publication = subscriber._pending.pop(next(iter(subscriber._pending)))
        assert subscriber._take(publication) is not None
        queue: Any = json.loads(publication.body)["queue"]
        taken.append((publication.job_id, str(publication.type), queue and queue["position"]))
    return taken


@pytest.fixture
def watching(database: Database) -> Watching:
    return Watching(database)


@pytest.mark.parametrize("whole", [False, True], ids=["one export", "all of a user"])
async def test_a_watcher_hears_of_each_new_place_once(watching: Watching, whole: bool) -> None:
    queue, subscriber = watching.queue, Subscriber()
    await queue.submit("ada", 3)
    await queue.claim()
    last = "job-000002"
    key = {"user_id": "ada"} if whole else {"job_id": last}
    watching.hub.subscribe(subscriber, **key)
    await watching.look()
    await watching.publish(last)
    assert take(subscriber) == [(last, "export.progress", 3)]
    for _ in range(3):
        await watching.look()
    assert take(subscriber) == [], "nothing has changed"
    await queue.work(0)
    await watching.look(after=UPDATE_SECONDS)
    sequence = subscriber._passed[last]
    assert take(subscriber) == [(last, "export.queue", 2)]
    assert subscriber._passed[last] == sequence, "the export has not changed"


async def test_a_place_that_changes_all_the_time_is_sent_every_few_seconds(watching: Watching) -> None:
    queue, subscriber = watching.queue, Subscriber()
    await queue.submit("ada", 30)
    last = "job-000029"
    watching.hub.subscribe(subscriber, job_id=last)
    await watching.look()
    await watching.publish(last)
    take(subscriber)
    heard = 0
    for _ in range(20):
        await queue.work(0)
        await watching.look(after=1)
        heard += len(take(subscriber))
    assert heard == 1 + 19 // UPDATE_SECONDS


async def test_an_outage_is_sent_and_its_end(watching: Watching) -> None:
    queue, subscriber = watching.queue, Subscriber()
    await queue.submit("ada", 1)
    watching.hub.subscribe(subscriber, job_id="job-000000")
    await watching.look()
    await watching.publish("job-000000")
    take(subscriber)
    watching.readiness.report_refusal(
        RunnerRefused("modal_unreachable", "Modal can't be reached.", transient=True, affects_all=True)
    )
    await watching.look(after=UPDATE_SECONDS)
    (refresh,) = subscriber._pending.values()
    assert json.loads(refresh.body)["queue"]["limited_by"] == "Modal can't be reached"
    take(subscriber)
    await watching.look(after=60)
    assert take(subscriber) == [], "nothing has changed"
    assert await watching.readiness.problem() is None
    await watching.look()
    (refresh,) = subscriber._pending.values()
    assert json.loads(refresh.body)["queue"]["limited_by"] is None


async def test_nobody_s_place_is_sent_and_nothing_is_written(watching: Watching) -> None:
    await watching.queue.submit("ada", 3)
    await watching.look()
    await watching.publish("job-000000")
    await watching.look(after=60)
    assert watching.updates._sent == {}
