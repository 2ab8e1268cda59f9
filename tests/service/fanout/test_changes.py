"""A committed change has all of its consequences, always in the same order."""

from collections.abc import Collection

import msgspec
import pytest

from infra.database.sqlite import SqliteDatabase
from service.fanout.changes import JobChanges
from service.fanout.hub import Hub
from service.fanout.subscribers import Subscriber
from service.jobs import transitions
from service.jobs.models import Job, Status
from service.jobs.serializers import JobSerializer
from tests.support.job_factory import submission_for

pytestmark = pytest.mark.anyio


class Recorder:
    """Fake hub, run control and delivery worker that record the order of calls."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.hub = Hub()
        self.subscriber = Subscriber()
        self.hub.subscribe(self.subscriber, user_id="ada")
        self.hub.publish = lambda publication: self.steps.append(f"publish {publication.sequence}")  # type: ignore[method-assign]
        self.changes = JobChanges(
            self.hub, JobSerializer("http://localhost"), self, wake_deliveries=self.wake_deliveries
        )

    def wake_deliveries(self, job_ids: Collection[str]) -> None:
        self.steps.append(f"wake deliveries of {', '.join(job_ids)}")

    async def stop_attempt(self, job: Job) -> None:
        self.steps.append(f"stop attempt {job.attempt}")

    async def delete_output(self, job: Job) -> None:
        self.steps.append(f"delete output if {job.status} leaves one")

    def wake_dispatcher(self) -> None:
        self.steps.append("wake dispatcher")


@pytest.fixture
async def job(database: SqliteDatabase) -> Job:
    async with database.transaction() as session:
        return await transitions.submit(
            session, submission_for("job-1"), runner="local", attempt_limit=2, now=1_000.0
        )


async def test_a_new_job_is_published_and_wakes_the_dispatcher(job: Job) -> None:
    recorder = Recorder()
    await recorder.changes.notify(job)
    assert recorder.steps == [
        "publish 1",
        "wake deliveries of job-1",
        "delete output if pending leaves one",
        "wake dispatcher",
    ]


async def test_an_ended_attempt_is_stopped_before_the_next_may_start(job: Job) -> None:
    recorder = Recorder()
    requeued = msgspec.structs.replace(job, attempt=2, sequence=5)
    await recorder.changes.notify(requeued, ended_attempt=job)
    assert recorder.steps == [
        "publish 5",
        "wake deliveries of job-1",
        "stop attempt 1",
        "delete output if pending leaves one",
        "wake dispatcher",
    ]


async def test_a_cancelled_job_wakes_the_dispatcher_for_another(job: Job) -> None:
    recorder = Recorder()
    cancelled = msgspec.structs.replace(job, status=Status.CANCELLED, sequence=2)
    await recorder.changes.notify(cancelled, ended_attempt=cancelled)
    assert recorder.steps[-2:] == ["delete output if cancelled leaves one", "wake dispatcher"]


async def test_a_reported_result_only_cleans_up(job: Job) -> None:
    recorder = Recorder()
    await recorder.changes.clean_up(msgspec.structs.replace(job, status=Status.COMPLETE, sequence=3))
    assert recorder.steps == ["delete output if complete leaves one"]


async def test_without_subscribers_only_deliveries_are_woken(job: Job) -> None:
    recorder = Recorder()
    recorder.hub.unsubscribe(recorder.subscriber, user_id="ada")
    recorder.changes.publish(job)
    assert recorder.steps == ["wake deliveries of job-1"]
