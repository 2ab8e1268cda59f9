"""Tests of runs that live and get nowhere: seen by operators, and ended where their processes can be ended."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.settings import Settings
from tests.service.dispatch.test_call_ids import wait_for_spawn
from tests.service.metrics.samples import scrape
from tests.support.app_harness import AppHarness, open_app
from tests.support.clocks import MovableClock
from tests.support.fakes import FakeRun, FakeRunner

ON_MODAL = ""
"""The calls of such a runner outlive the service, and can have no prefix of it."""


class Stuck:
    """A service, its clock, and a run that has reported its start."""

    def __init__(self, app: AppHarness, clock: MovableClock, run: FakeRun) -> None:
        self.app, self.clock, self.run = app, clock, run
        self.job_id = run.spec.job_id

    async def pass_time(self, seconds: float) -> None:
        await self.clock.pass_time(self.app, seconds)

    async def count(self, sign: str) -> float:
        return (await scrape(self.app.client)).value("database_stuck_runs", sign=sign)

    async def attempt(self) -> object:
        row = await self.app.fetch_row(self.job_id)
        return row["attempt"] if row["status"] != "error" else row["error_code"]


@asynccontextmanager
async def start_run(
    settings: Settings, *, instance: str = "fake-", **changes: object
) -> AsyncIterator[Stuck]:
    clock = MovableClock()
    changed = settings.model_copy(update=changes)
    async with open_app(changed, FakeRunner(instance=instance), clock.clock) as app:
        await app.submit_export()
        run = await app.next_run()
        await wait_for_spawn(app, run)
        await run.report_started()
        yield Stuck(app, clock, run)


async def test_a_local_run_that_is_frozen_is_shown_then_ended_and_tried_again(settings: Settings) -> None:
    async with start_run(settings) as stuck:
        await stuck.pass_time(50)
        assert await stuck.count("silent") == 0
        await stuck.pass_time(15)
        assert await stuck.count("silent") == 1
        await stuck.pass_time(110)
        assert (await stuck.attempt(), stuck.app.runner.cancelled) == (1, [])
        await stuck.pass_time(10)
        assert (await stuck.attempt(), stuck.app.runner.cancelled) == (2, [stuck.run.spec.call_id])
        samples = await scrape(stuck.app.client)
        assert samples.value("attempts_lost_total", reason="run_stalled") == 1
        assert await stuck.count("silent") == 0


async def test_a_run_whose_decoder_hangs_is_ended_although_its_process_reports(settings: Settings) -> None:
    async with start_run(settings, stalled_seconds=120.0) as stuck:
        for _ in range(2):
            await stuck.run.report_progress(40)
            await stuck.pass_time(40)
        assert (await stuck.count("no_progress"), await stuck.count("silent")) == (1, 0)
        await stuck.run.report_progress(40)
        await stuck.pass_time(35)
        assert await stuck.attempt() == 1
        await stuck.pass_time(10)
        assert await stuck.attempt() == 2


async def test_a_run_that_is_slow_but_gets_on_is_left_alone(settings: Settings) -> None:
    async with start_run(settings, stalled_seconds=60.0) as stuck:
        for percent in range(1, 7):
            await stuck.run.report_progress(percent / 100)
            await stuck.pass_time(25)
        assert await stuck.attempt() == 1
        assert (await stuck.count("no_progress"), await stuck.count("silent")) == (0, 0)


async def test_a_run_that_stalls_each_time_ends_its_export(settings: Settings) -> None:
    async with start_run(settings, attempt_limit=1) as stuck:
        await stuck.pass_time(190)
        assert await stuck.attempt() == "run_stalled"


async def test_a_run_on_modal_is_shown_and_goes_on(settings: Settings) -> None:
    async with start_run(settings, instance=ON_MODAL, stalled_seconds=60.0) as stuck:
        await stuck.pass_time(190)
        assert (await stuck.attempt(), stuck.app.runner.cancelled) == (1, [])
        assert (await stuck.count("silent"), await stuck.count("no_progress")) == (1, 1)
