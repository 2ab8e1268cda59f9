"""Schedules of faults for two tabs of Chromium: generate one from a seed, play it, check what the tabs have shown."""

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from playwright.async_api import BrowserContext, Page

from tests.javascript.proxied_service import ProxiedService
from tests.support.browser.faulty_proxy import Sockets
from tests.support.fakes import FakeRun

TIME_SCALE = 10
"""The page's clock and timers run this much faster, so that a silent connection is noticed in a second or two."""
STEPS = 8
SHORT_TOKEN_SECONDS = 3
MAX_ATTEMPTS = 30
"""How many streams a schedule may ask for; most take one to four."""
COMPARED = ("status", "phase", "progress", "message", "error", "attempt")
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Tab</title><link rel="icon" href="data:,">
<script>
const { api, scale } = settings;
const { setTimeout: startTimer } = globalThis;
const { now: readClock } = Date;
const start = readClock();
globalThis.setTimeout = (call, milliseconds) => startTimer(call, milliseconds / scale);
Date.now = () => start + (readClock() - start) * scale;
</script>
<script type="module">
import { createClient } from "./framehook.js";

const client = createClient({ baseUrl: api, token: () => getToken() });
globalThis.load = Math.random().toString(36);
const show = (shown) => record(load, JSON.stringify(shown));
client.watch({}, { onUpdate: show, onProblem: ({ code }) => show({ problem: code }) });
</script></html>
"""

Job = dict[str, Any]


class Action(StrEnum):
    """What a step of a schedule does."""

    REPORT = "report"
    SUBMIT = "submit"
    FINISH = "finish"
    SETTLE = "settle"
    CUT = "cut"
    FREEZE = "freeze"
    REFUSE = "refuse WebSockets"
    HANG = "hang WebSockets"
    MUTE = "mute WebSockets"
    PASS = "pass WebSockets"
    RESTART = "restart"
    RELOAD = "reload"
    REPLACE = "close a tab and open another"


SOCKETS = {
    Action.REFUSE: Sockets.REFUSE,
    Action.HANG: Sockets.HANG,
    Action.MUTE: Sockets.MUTE,
    Action.PASS: Sockets.PASS,
}
WEIGHTS = {Action.REPORT: 6, Action.SETTLE: 3, Action.CUT: 2, Action.SUBMIT: 2, Action.FINISH: 2}


@dataclass(frozen=True)
class Schedule:
    """The steps, and how long each token lives."""

    seed: int
    steps: tuple[Action, ...]
    token_seconds: int


def generate_schedule(seed: int) -> Schedule:
    """Return the schedule of a seed."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    weights = [WEIGHTS.get(action, 1) for action in Action]
    steps = tuple(chance.choices(list(Action), weights, k=STEPS))
    return Schedule(seed, steps, SHORT_TOKEN_SECONDS if chance.random() < 0.2 else 3_600)


@dataclass
class Playing:
    """A schedule that is played: the tabs, the exports, and what each load of a page has shown."""

    schedule: Schedule
    service: ProxiedService
    context: BrowserContext
    page_url: str
    pages: list[Page] = field(default_factory=list)
    runs: list[FakeRun] = field(default_factory=list)
    finished: set[str] = field(default_factory=set)
    shown: dict[str, list[Job]] = field(default_factory=dict)
    known: dict[tuple[str, int], Job] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.schedule.seed + 1)  # noqa: S311 - no secret
        self.user = f"user-{self.schedule.seed}"
        self.first_attempt = self.service.proxy.stream_attempts

    async def play(self) -> None:
        """Play the schedule to its end, and check that each tab has then shown the end of every export."""
        await self.context.expose_function("getToken", self._create_token)
        await self.context.expose_function("record", self._record)
        settings = {"api": self.service.url, "scale": TIME_SCALE}
        await self.context.add_init_script(f"globalThis.settings = {json.dumps(settings)}")
        await self._submit()
        for _ in range(2):
            await self._open_page()
        for action in self.schedule.steps:
            await self._act(action)
        for run in self.runs:
            await self._finish(run)
        await self._settle()
        await self._check()

    async def _act(self, action: Action) -> None:
        proxy = self.service.proxy
        if action in SOCKETS:
            proxy.sockets = SOCKETS[action]
        elif action is Action.REPORT:
            await self._report(self.chance.choice(self.runs))
        elif action is Action.SUBMIT:
            await self._submit()
        elif action is Action.FINISH:
            await self._finish(self.chance.choice(self.runs))
        elif action is Action.SETTLE:
            await self._settle()
        elif action is Action.CUT:
            proxy.cut()
        elif action is Action.FREEZE:
            proxy.freeze()
        elif action is Action.RESTART:
            await self.service.stop()
            await self.service.start()
            self.runs = [self.service.reconnect_run(run) for run in self.runs]
        elif action is Action.RELOAD:
            await self.chance.choice(self.pages).reload()
        else:
            await self.pages.pop(self.chance.randrange(2)).close()
            await self._open_page()

    async def _open_page(self) -> None:
        page = await self.context.new_page()
        await page.goto(self.page_url)
        self.pages.append(page)

    async def _submit(self) -> None:
        run = await self.service.submit_export(self.user)
        self.runs.append(run)
        await self._note(run)

    async def _report(self, run: FakeRun) -> None:
        await run.report_progress(min(99, 10 * (run.step + 1)))
        await self._note(run)

    async def _finish(self, run: FakeRun) -> None:
        if run.spec.job_id not in self.finished:
            self.finished.add(run.spec.job_id)
            await run.report_failed()
            await self._note(run)

    async def _note(self, run: FakeRun) -> None:
        """Remember the state that the service has now."""
        job = await self.service.fetch_job(run.spec.job_id, self.user)
        self.known[job["job_id"], job["sequence"]] = job

    def _create_token(self) -> str:
        return self.service.create_token(seconds=self.schedule.token_seconds, user=self.user)

    async def _record(self, load: str, text: str) -> None:
        await self.service.proxy.note(lambda: self.shown.setdefault(load, []).append(json.loads(text)))

    async def _loads(self) -> list[str]:
        loads = []
        for page in self.pages:
            await page.wait_for_function("globalThis.load !== undefined")
            loads.append(await page.evaluate("load"))
        return loads

    async def _settle(self) -> None:
        """Wait until each tab shows the newest state of each export, or a newer one."""
        wanted = newest_sequences(self.known.values())

        def list_missing() -> list[tuple[str, str]]:
            newest = {load: newest_sequences(self.shown.get(load, [])) for load in loads}
            return [
                (load, job_id)
                for load in loads
                for job_id, sequence in wanted.items()
                if newest[load].get(job_id, 0) < sequence
            ]

        loads = await self._loads()
        try:
            await self.service.proxy.wait_for(lambda: list_missing() == [])
        except TimeoutError:
            raise AssertionError(f"{self.schedule}: never shown: {list_missing()}") from None
        await self.service.proxy.wait_for(lambda: len(self.service.proxy.open_streams) <= 1)

    async def _check(self) -> None:
        """Check the histories of all loads, the number of connections, and of attempts."""
        for shown in self.shown.values():
            last: dict[str, tuple[int, object]] = {}
            for job in shown:
                assert "problem" not in job, (self.schedule, job)
                job_id, sequence = key_of(job)
                before, place = last.get(job_id, (0, None))
                is_news = sequence > before or (sequence == before and job.get("queue") != place)
                assert is_news, (self.schedule, "a state was shown twice or late", job)
                known = self.known.get((job_id, sequence), job)
                assert {name: known[name] for name in COMPARED} == {name: job[name] for name in COMPARED}
                last[job_id] = sequence, job.get("queue")
        attempts = self.service.proxy.stream_attempts - self.first_attempt
        assert attempts <= MAX_ATTEMPTS, (self.schedule, attempts)


def newest_sequences(jobs: Iterable[Job]) -> dict[str, int]:
    """Return the highest sequence of each export."""
    newest: dict[str, int] = {}
    for job in jobs:
        job_id, sequence = key_of(job)
        newest[job_id] = max(newest.get(job_id, 0), sequence)
    return newest


def key_of(job: Job) -> tuple[str, int]:
    return job.get("job_id", ""), job.get("sequence", 0)
