"""After a crash another replica publishes the output within seconds; two never do so together."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec
import pytest

from callbacks.envelope import Output
from gpu.spec import LocalFile, RemoteObject
from infra.database.factory import open_database
from infra.database.sqlite import sqlite_url
from service.dispatch.runners import Failed, Finished
from service.ingest.changes import change_from_result
from service.ingest.lease_renewal import LeaseLost, LeaseRenewal
from service.jobs import finalize_leases
from service.settings import Settings
from tests.conftest import open_empty_database
from tests.service.dispatch.test_clock_steps import load_job
from tests.support.app_harness import AppHarness, open_app
from tests.support.clocks import MovableClock
from tests.support.fakes import OUTPUT, FakeRun, FakeRunner, ThreadProber
from tests.support.problems import assert_problem
from tests.support.small_mp4 import make_video

VIDEO = make_video(b"the exported video")
CHECKSUM = f"sha256:{hashlib.sha256(VIDEO).hexdigest()}"
FINISHED = Finished(msgspec.convert({**OUTPUT, "size": len(VIDEO), "checksum": CHECKSUM}, Output), 1.0)
LOST = Failed("run_lost", "It is gone.", transient=True)
ROUND_SECONDS = 200.0
LEASE_SECONDS = 3 * ROUND_SECONDS
"""Long for a test: only the test renews leases or lets them run out."""
LIMIT_SECONDS = 8 * ROUND_SECONDS


class HeldProber:
    """A prober that waits until the test allows it to answer."""

    def __init__(self) -> None:
        self.called, self.allowed = asyncio.Event(), asyncio.Event()

    async def probe(
        self, user_id: str, location: LocalFile | RemoteObject, *, output_type: str | None = None
    ) -> dict[str, Any]:
        self.called.set()
        await self.allowed.wait()
        return await ThreadProber().probe(user_id, location, output_type=output_type)


@dataclass
class Replica:
    """A service on a shared database, with its clock and its prober of outputs."""

    app: AppHarness
    clock: MovableClock
    prober: HeldProber

    async def pass_rounds(self, count: int) -> None:
        """Run the rescuer `count` times while time passes."""
        for _ in range(count):
            self.clock.passed_seconds += ROUND_SECONDS
            await self.app.state["rescuer"].rescue_once()

    async def renew(self) -> None:
        await self.app.state["finalizer"]._leases.renew()

    async def job(self, job_id: str) -> dict[str, Any]:
        job: dict[str, Any] = (await self.app.client.get(f"/api/exports/{job_id}")).json()
        return job

    async def output(self, job_id: str) -> object:
        key = (await self.app.fetch_row(job_id))["output_key"]
        return await self.app.state["storage"].find("local", str(key))


@dataclass
class Pair:
    """Two replicas; the first verifies the output of `run`, and will answer the callback with `answer`."""

    first: Replica
    second: Replica
    run: FakeRun
    answer: asyncio.Task[httpx.Response]

    @property
    def job_id(self) -> str:
        return self.run.spec.job_id


@pytest.fixture(params=["sqlite", "postgresql"])
async def shared_settings(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    url = request.getfixturevalue(f"{request.param}_url")
    await (await open_empty_database(url)).close()
    return settings.model_copy(
        update={
            "database_url": url,
            "watch_seconds": ROUND_SECONDS,
            "finalize_lease_seconds": LEASE_SECONDS,
            "finalize_seconds": LIMIT_SECONDS,
        }
    )


@pytest.fixture
async def pair(shared_settings: Settings, stack: AsyncExitStack) -> AsyncIterator[Pair]:
    runner = FakeRunner()
    replicas = []
    for _ in range(2):
        clock, prober = MovableClock(), HeldProber()
        app = await stack.enter_async_context(open_app(shared_settings, runner, clock.clock, prober))
        replicas.append(Replica(app, clock, prober))
    first, second = replicas
    await first.app.submit_export()
    run = await first.app.next_run()
    await run.report_started()
    first.app.put_output(run, VIDEO)
    answer = asyncio.create_task(run.report_completed(size=len(VIDEO), checksum=CHECKSUM))
    await first.prober.called.wait()
    await second.pass_rounds(1)
    yield Pair(first, second, run, answer)
    first.prober.allowed.set()
    await asyncio.wait([answer])


async def test_another_replica_publishes_the_output_once_a_lease_was_not_renewed(pair: Pair) -> None:
    second = pair.second
    second.app.runner.statuses[pair.run.spec.call_id] = FINISHED
    second.prober.allowed.set()
    await second.pass_rounds(2)
    assert (await second.job(pair.job_id))["phase"] == "finalizing"
    await second.pass_rounds(1)
    job = await second.job(pair.job_id)
    assert (job["status"], job["attempt"], job["output"]["checksum"]) == ("complete", 1, CHECKSUM)
    assert await second.output(pair.job_id) is not None


async def test_a_lease_that_is_renewed_is_nobody_else_s(pair: Pair) -> None:
    pair.second.app.runner.statuses[pair.run.spec.call_id] = LOST
    for _ in range(6):
        await pair.first.renew()
        await pair.second.pass_rounds(1)
    pair.first.prober.allowed.set()
    assert (await pair.answer).status_code == 200
    job = await pair.second.job(pair.job_id)
    assert (job["status"], job["attempt"]) == ("complete", 1)


async def test_who_finds_the_lease_lost_stops_and_changes_nothing(pair: Pair) -> None:
    pair.second.app.runner.statuses[pair.run.spec.call_id] = LOST
    await pair.second.pass_rounds(3)
    assert (await pair.second.job(pair.job_id))["attempt"] == 2
    before = await pair.second.app.fetch_row(pair.job_id)
    await pair.first.renew()
    assert assert_problem(await pair.answer, 503)["type"].endswith("still_finalizing")
    assert {**await pair.second.app.fetch_row(pair.job_id), "call_id": None} == {**before, "call_id": None}
    assert await pair.second.output(pair.job_id) is None


async def test_who_stood_still_for_longer_than_the_lease_publishes_nothing(pair: Pair) -> None:
    pair.first.clock.passed_seconds += LEASE_SECONDS
    pair.first.prober.allowed.set()
    assert assert_problem(await pair.answer, 503)["type"].endswith("still_finalizing")
    assert await pair.first.output(pair.job_id) is None


async def test_of_two_that_publish_the_one_with_the_lease_says_complete(pair: Pair) -> None:
    pair.second.app.runner.statuses[pair.run.spec.call_id] = FINISHED
    taking_over = asyncio.create_task(pair.second.pass_rounds(3))
    await pair.second.prober.called.wait()
    pair.first.prober.allowed.set()  # it does not know yet
    assert assert_problem(await pair.answer, 503)["type"].endswith("still_finalizing")
    assert (await pair.first.job(pair.job_id))["phase"] == "finalizing"
    pair.second.prober.allowed.set()
    await taking_over
    await pair.second.pass_rounds(2)  # what it looked at had just been moved: it looks again
    job = await pair.second.job(pair.job_id)
    assert (job["status"], job["attempt"]) == ("complete", 1)
    assert await pair.second.output(pair.job_id) is not None
    statuses = [event["status"] for event in await pair.second.app.fetch_timeline(pair.job_id)]
    assert statuses.count("complete") == 1


async def test_a_verdict_that_comes_too_late_does_not_end_what_another_verifies(pair: Pair) -> None:
    pair.second.app.runner.statuses[pair.run.spec.call_id] = FINISHED
    taking_over = asyncio.create_task(pair.second.pass_rounds(3))
    await pair.second.prober.called.wait()
    pair.first.app.put_output(pair.run, VIDEO[:-1])  # as it would look to one who can't read it whole
    pair.first.prober.allowed.set()
    assert assert_problem(await pair.answer, 503)["type"].endswith("still_finalizing")
    pair.second.app.put_output(pair.run, VIDEO)
    pair.second.prober.allowed.set()
    await taking_over
    assert (await pair.second.job(pair.job_id))["status"] == "complete"


async def test_a_run_that_asks_again_meanwhile_is_told_to_wait(pair: Pair) -> None:
    for replica in (pair.first, pair.second):
        again = FakeRun(pair.run.spec, replica.app.client).at_step(pair.run.step - 1)
        refused = await again.report_completed(size=len(VIDEO), checksum=CHECKSUM)
        assert assert_problem(refused, 503)["type"].endswith("still_finalizing")
        assert refused.headers["retry-after"]
    pair.first.prober.allowed.set()
    assert (await pair.answer).status_code == 200
    again = FakeRun(pair.run.spec, pair.second.app.client).at_step(pair.run.step - 1)
    assert (await again.report_completed(size=len(VIDEO), checksum=CHECKSUM)).status_code == 200


async def test_verifying_an_output_takes_no_longer_than_it_may(pair: Pair) -> None:
    pair.second.app.runner.statuses[pair.run.spec.call_id] = LOST
    for _ in range(round(LIMIT_SECONDS / ROUND_SECONDS)):
        assert not pair.answer.done()
        pair.first.clock.passed_seconds += ROUND_SECONDS
        await pair.first.renew()
        await pair.second.pass_rounds(1)
    assert (await pair.answer).status_code == 200
    job = await pair.first.job(pair.job_id)
    assert (job["status"], job["attempt"]) == ("pending", 2)
    timeline = await pair.first.app.fetch_timeline(pair.job_id)
    assert any("took too long" in str(event["message"]) for event in timeline)


async def test_a_cancelled_export_is_its_finalizer_s_until_nothing_is_on_its_way(pair: Pair) -> None:
    url = f"/api/exports/{pair.job_id}"
    assert (await pair.second.app.client.delete(url)).status_code == 202
    for _ in range(6):
        await pair.first.renew()
        await pair.second.pass_rounds(1)
        pair.first.clock.passed_seconds += ROUND_SECONDS
        waiting = await pair.first.app.client.post(f"{url}/retry")
        assert assert_problem(waiting, 409)["type"].endswith("still_ending")
    pair.first.prober.allowed.set()
    assert not (await pair.answer).is_success
    assert await pair.first.output(pair.job_id) is None
    assert (await pair.first.app.client.post(f"{url}/retry")).status_code == 202


@pytest.fixture(params=["sqlite", "postgresql"])
def url_of_nothing(request: pytest.FixtureRequest, settings: Settings) -> str:
    if request.param == "sqlite":
        return sqlite_url(settings.data_dir / "empty.db")  # a file without a schema
    return "postgresql://framehook@127.0.0.1:1/framehook"


async def test_a_database_that_is_away_ends_the_work_only_when_the_lease_is_over(url_of_nothing: str) -> None:
    away, clock = open_database(url_of_nothing), MovableClock()
    leases = LeaseRenewal(away, lease_seconds=600, limit_seconds=6_000, clock=clock.clock)
    survived = []

    async def work() -> None:
        async with leases.keep(leases.prepare("job")):
            for seconds in (599, 1):
                clock.passed_seconds += seconds
                await leases.renew()
                await asyncio.sleep(0)
                await asyncio.sleep(0)  # it would end here
                survived.append(seconds)

    with pytest.raises(LeaseLost):
        await work()
    assert survived == [599]
    await away.close()


async def test_a_restart_on_a_file_goes_on_with_an_output_at_once(settings: Settings) -> None:
    async with open_app(settings, FakeRunner(instance="")) as app:  # its calls outlive it
        job = await app.submit_export()
        run = await app.next_run()
        await run.report_started()
        report = change_from_result(await load_job(app, job["job_id"]), FINISHED.ending, 1.0, now=0.0).report
        async with app.database.transaction() as session:
            assert await finalize_leases.acquire(session, report, "of the dead", lease_seconds=600, now=0.0)
    async with open_app(settings, FakeRunner(instance="")) as app:
        again = app.run_for(run.spec).at_step(run.step)
        app.put_output(again, VIDEO)
        assert (await again.report_completed(size=len(VIDEO), checksum=CHECKSUM)).status_code == 200
