"""Replay a generated day through the real queue and the real learner, in simulated time: how good forecasts are.

Exports are submitted, claimed in the order of fair share and completed in a database; nothing is encoded. When an
export is submitted, its forecast and its `eta` are taken as the service shows them, and compared with what the day made
of it. Each round is another day. A second check exports short films, and compares each with what was learned of those
before it; its unit is CPU time, since wall time on a shared machine is that of its other load.
"""

import asyncio
import heapq
import itertools
import random
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from gpu.export_types.registry import parse_config
from gpu.sources.describe import describe_source
from gpu.sources.probe_process import open_request
from gpu.spec import LocalFile
from infra.database.base import Database
from infra.database.factory import open_database
from infra.database.sqlite import sqlite_url
from service import schema
from service.clock import Clock
from service.forecast.forecaster import Forecaster
from service.forecast.rates import Prediction, RateBook, run_of
from service.forecast.work import SourceFacts, describe_work
from service.jobs.queue.head import read_head
from service.jobs.queue.observed_waits import ObservedWaits
from service.jobs.queue.places import Capacity, Places, foresee_places
from service.jobs.serializers import predict_left
from tests.bench.benchmark import Benchmark, Figure, Options, Size
from tests.bench.forecast.day import GPU, Day, Submission
from tests.bench.measure.process_cost import measure_process
from tests.bench.measure.samples import Samples
from tests.bench.video.peers import prepare_film
from tests.bench.video.workloads import export_config, spec
from tests.service.jobs.simulated_queue import Queue

SLOTS, SLOTS_WITH_GPUS, PER_USER = 6, 3, 3
FIRST_RUNS = 3
"""Real exports that only teach the speed of this machine."""


class Outcome(NamedTuple):
    """What was forecast and what came, in seconds."""

    forecast: Prediction
    seconds: float


@dataclass
class Replay:
    """A day on a service with an empty database; times are those of the day."""

    day: Day
    queue: Queue
    now: float = 0.0
    runs: list[Outcome] = field(default_factory=list)
    waits: list[Outcome] = field(default_factory=list)

    def __post_init__(self) -> None:
        clock = Clock(lambda: self.queue.now, lambda: self.queue.now)
        self._forecaster = Forecaster(self.queue.database, clock, "local")
        self._observed = ObservedWaits(self._forecaster.record_wait)
        self._submissions: dict[str, Submission] = {}
        self._etas: dict[str, Prediction] = {}
        self._ends: list[tuple[float, float, str]] = []
        self._begin = self.queue.now

    async def run(self) -> None:
        """Submit all exports of the day, and wait for the last one."""
        for submission in self.day.submissions:
            await self._end_runs(self._begin + submission.at)
            await self._submit(submission)
        await self._end_runs(float("inf"))

    async def _end_runs(self, until: float) -> None:
        while self._ends and self._ends[0][0] <= until:
            at, seconds, job_id = heapq.heappop(self._ends)
            self.queue.now = at
            await self.queue.complete(job_id)
            submission = self._submissions[job_id]
            self._forecaster.record(submission.work, seconds)
            await self._forecaster.learn()
            if job_id in self._etas:
                self.waits.append(Outcome(self._etas[job_id], at - self._begin - submission.at))
            await self._start_runs()
        self.queue.now = max(self.queue.now, min(until, self._begin + 10 * 86_400))

    async def _submit(self, submission: Submission) -> None:
        forecast = self._forecaster.predict(submission.work)
        self.queue.slots = SLOTS_WITH_GPUS if submission.work.runner == GPU else SLOTS
        columns: dict[str, Any] = {"forecast_seconds": forecast.p50, "forecast_high_seconds": forecast.p90}
        job = await self.queue.submit(submission.user_id, **columns)
        self._submissions[job.job_id] = submission
        place = (await self._look()).by_job.get(job.job_id)
        wait = (
            None if place is None or place.seconds is None else self._forecaster.predict_wait(place.seconds)
        )
        eta = predict_left(job, wait=wait)
        if eta is not None:
            self._etas[job.job_id] = eta
        await self._start_runs()

    async def _look(self) -> Places:
        """Look at the queue, as the service does every few seconds."""
        async with self.queue.database.reading() as session:
            head = await read_head(session, priority_seconds=0.0, now=self.queue.now)
        places = foresee_places(head, Capacity(self.queue.slots, PER_USER))
        self._observed.observe(head, places)
        return places

    async def _start_runs(self) -> None:
        for job in await self.queue.claim() if len(self.queue.running) < self.queue.slots else ():
            submission = self._submissions[job.job_id]
            seconds = self.day.run_seconds(submission, self.queue.now - self._begin)
            assert job.forecast_seconds is not None
            assert job.forecast_high_seconds is not None
            self.runs.append(Outcome(Prediction(job.forecast_seconds, job.forecast_high_seconds), seconds))
            heapq.heappush(self._ends, (self.queue.now + seconds, seconds, job.job_id))


def run(options: Options) -> list[Figure]:
    """Replay a day in each round, and export short films once."""
    samples = Samples()
    for seed in range(options.rounds):
        replay = asyncio.run(_replay(seed, options.sizes["exports"]))
        _add_outcomes(samples, "runs of a day", replay.runs)
        _add_outcomes(samples, "waits and runs of a day", replay.waits)
        samples.add("waits and runs of a day", "foreseen", 100 * len(replay.waits) / len(replay.runs), "%")
    _add_outcomes(samples, "real exports", _export_films(options.sizes["films"]))
    return samples.to_figures()


async def _replay(seed: int, exports: int) -> Replay:
    with tempfile.TemporaryDirectory() as folder:
        url = sqlite_url(Path(folder) / "replay.db")
        await asyncio.to_thread(schema.upgrade, url)
        database: Database = open_database(url)
        try:
            replay = Replay(Day(seed, exports), Queue(database, SLOTS, per_user=PER_USER))
            await replay.run()
        finally:
            await database.close()
    return replay


def _add_outcomes(samples: Samples, variant: str, outcomes: Sequence[Outcome]) -> None:
    in_time = [outcome.seconds <= outcome.forecast.p90 for outcome in outcomes]
    errors = [abs(outcome.forecast.p50 / outcome.seconds - 1) for outcome in outcomes]
    samples.add(variant, "end before the 90 % figure", 100 * sum(in_time) / len(in_time), "%")
    samples.add(variant, "median error", 100 * statistics.median(errors), "%")
    samples.add(variant, "median time", statistics.median(outcome.seconds for outcome in outcomes), "s")
    samples.add(variant, "exports", len(outcomes), "count")


def _export_films(count: int) -> Sequence[Outcome]:
    """Export short films in all types; return the outcomes after the first few."""
    chance, book, outcomes = random.Random(count), RateBook(), list[Outcome]()  # noqa: S311 - chance, not secrecy
    kinds = itertools.cycle(itertools.product(("framing", "overlay", "annotate"), ("draft", "standard")))
    for number, (kind, quality) in zip(range(FIRST_RUNS + count), kinds, strict=False):
        seconds = chance.choice((1, 2))
        film = prepare_film(seconds)
        config = export_config(kind, seconds) | {"quality": quality}
        facts = SourceFacts.of(describe_source(open_request(LocalFile(path=str(film)))))
        assert facts is not None
        work = describe_work(kind, parse_config(kind, config), {"film": facts}, runner="local")
        assert work is not None
        forecast = book.predict(run_of(work), now=float(number))
        arguments = spec(kind, config, film, film.with_name("forecast.mp4"))
        cost = measure_process((sys.executable, "-m", "gpu", "-"), arguments)
        book.learn(run_of(work), cost.cpu_seconds, now=float(number))
        if number >= FIRST_RUNS:
            outcomes.append(Outcome(forecast, cost.cpu_seconds))
    return outcomes


BENCHMARK = Benchmark(
    description="How many exports end before `eta_high_seconds`, and the error of `eta_seconds`, on generated days.",
    run=run,
    rounds=2,
    sizes={"exports": Size(800, smoke=30), "films": Size(12, smoke=1)},
)
