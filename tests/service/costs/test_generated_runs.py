"""Ten thousand generated runs: none spends more than its limits and one callback's worth.

The runs are generated: preempted, lost, split into pieces, reported late, twice and out of order, to several replicas.
What decides is the service's own: `Budgets.check_callback` and `DayAccount` on each replica, and `find_own_limit`
before an attempt starts. What the database does with a report, which is to keep the greatest sum of each run, is done
here in a few lines; `test_gpu_seconds` holds the statements to that.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

import pytest

from infra.database.base import Database
from service.clock import Clock
from service.costs.budgets import DayLimits, RunningCost, find_own_limit
from service.costs.control import Budgets, Cost
from service.costs.days import day_of

PRICE = 0.000222
RUNS = 10_000
CALLBACK_SECONDS = 15.0
REFRESH_CALLBACKS = 40
AT_ONCE = 8
NOW = 1_796_000_000.0


@dataclass
class SimulatedRun:
    """A run: how many containers work for it, and what it has used since it began."""

    job: "SimulatedJob"
    pieces: int
    used: float = 0.0
    late: list[float] = field(default_factory=list)


@dataclass
class SimulatedJob:
    """A row: what all of its runs have used, as reported, and its limits."""

    name: str
    user: str
    max_usd: float | None
    seconds_before: float = 0.0
    seconds: float = 0.0
    is_over: bool = False

    @property
    def usd(self) -> float:
        return self.seconds * PRICE


class Simulation:
    """Replicas that get callbacks in turn, and the database between them."""

    def __init__(self, seed: int, limits: DayLimits, database: Database, *, replicas: int) -> None:
        self.random = Random(seed)  # noqa: S311 - the seed repeats the run
        self.limits = limits
        clock = Clock(lambda: NOW, lambda: 0.0)
        self.replicas = [
            Budgets(database, limits, usd_per_second=PRICE, clock=clock) for _ in range(replicas)
        ]
        self.jobs: list[SimulatedJob] = []
        self.worth: dict[str, float] = defaultdict(float)
        self.spent: dict[str, float] = defaultdict(float)
        self.most_unseen: dict[str, float] = defaultdict(float)

    def refresh(self) -> None:
        """Do for each replica what `Budgets.refresh` does with the database."""
        if not self.limits.exist:
            return
        for user, usd in self.spent.items():
            self.most_unseen[user] = max(self.most_unseen[user], usd)
        self.spent.clear()
        ended: dict[str, float] = defaultdict(float)
        running = {}
        for job in self.jobs:
            if job.is_over:
                ended[job.user] += job.usd
            elif job.usd:
                running[job.name] = RunningCost(job.user, job.usd)
        for budgets in self.replicas:
            budgets._account.load(day_of(NOW), ended, running)

    def receive(self, run: SimulatedRun, seconds: float) -> bool:
        """Take a callback; return whether the run has to stop."""
        job = run.job
        if job.is_over:
            return True
        before = job.usd
        job.seconds = max(job.seconds, job.seconds_before + seconds)
        self.spent[job.user] += job.usd - before
        budgets = self.random.choice(self.replicas)
        job.is_over = budgets.check_callback(job.name, job.user, Cost(job.usd, job.max_usd, 0.0)) is not None
        return job.is_over

    def play(self, job: SimulatedJob, runs: int) -> Iterator[None]:
        """Run attempts of a job, a callback at a time."""
        self.jobs.append(job)
        for _ in range(runs):
            if job.is_over or find_own_limit(job.usd, job.max_usd) is not None:
                return
            if self.random.choice(self.replicas).find_reached(job.user) is not None:
                return
            job.seconds_before = job.seconds
            run = SimulatedRun(job, pieces=self.random.choice((1, 1, 1, 4, 16)))
            for _ in range(self.random.randint(1, 20)):
                yield
                step = self.random.uniform(0.1, CALLBACK_SECONDS) * run.pieces
                self.worth[job.name] = max(self.worth[job.name], step)
                run.used += step
                if self.report(run):
                    return
            # The run is preempted, or lost: what it used since its last callback is not known.

    def report(self, run: SimulatedRun) -> bool:
        """Send what the run has used, perhaps after older reports, or twice."""
        run.late.append(run.used)
        sent = self.random.sample(run.late, k=min(len(run.late), 2)) if self.random.random() < 0.2 else []
        order = [*sent, run.used] if self.random.random() < 0.5 else [run.used, *sent]
        del run.late[:-3]
        answers = [self.receive(run, seconds) for seconds in order]
        return any(answers)


def play_all(simulation: Simulation, users: int, runs: int) -> int:
    """Interleave the runs of many jobs; return how many began."""
    random, count = simulation.random, 0
    waiting: list[Iterator[None]] = []
    while count < runs:
        attempts = random.randint(1, 4)
        user = f"user-{random.randrange(users)}"
        max_usd = random.choice((None, random.uniform(0.001, 0.3)))
        waiting.append(simulation.play(SimulatedJob(f"job-{len(waiting)}", user, max_usd), attempts))
        count += attempts
    active: list[Iterator[None]] = []
    while waiting or active:
        while waiting and len(active) < AT_ONCE:
            active.append(waiting.pop())
        index = random.randrange(len(active))
        if next(active[index], StopIteration) is StopIteration:
            active.pop(index)
        if random.random() < 1 / REFRESH_CALLBACKS:
            simulation.refresh()
    return count


@pytest.mark.parametrize("seed", range(2))
async def test_no_export_costs_more_than_its_limit_and_one_callback(seed: int, database: Database) -> None:
    simulation = Simulation(seed, DayLimits(), database, replicas=3)
    assert play_all(simulation, users=50, runs=RUNS // 2) >= RUNS // 2
    limited = [(job, job.max_usd) for job in simulation.jobs if job.max_usd is not None]
    over = [job for job, most in limited if job.usd > most + simulation.worth[job.name] * PRICE]
    assert over == []
    assert sum(job.is_over for job, _ in limited) > len(limited) / 10, "limits were reached"
    assert not any(job.is_over for job in simulation.jobs if job.max_usd is None)


@pytest.mark.parametrize("replicas", [1, 3])
@pytest.mark.parametrize("limits", [DayLimits(user_usd=1.0), DayLimits(total_usd=20.0)], ids=["user", "all"])
async def test_no_day_costs_more_than_its_limit_and_one_callback_of_each_run(
    limits: DayLimits, replicas: int, database: Database
) -> None:
    """Replicas learn of what others have spent when they refresh, so that much is added."""
    simulation = Simulation(7, limits, database, replicas=replicas)
    play_all(simulation, users=50, runs=RUNS)
    simulation.refresh()
    by_user: dict[str, float] = defaultdict(float)
    for job in simulation.jobs:
        by_user[job.user if limits.user_usd else ""] += job.usd
    running = sum(sorted(simulation.worth.values())[-AT_ONCE:]) * PRICE
    limit = limits.user_usd or limits.total_usd or 0.0
    reached = [user for user, usd in by_user.items() if usd >= limit]
    assert len(reached) > len(by_user) / 2
    for user, usd in by_user.items():
        unseen = simulation.most_unseen[user] if limits.user_usd else sum(simulation.most_unseen.values())
        assert usd <= limit + running + (unseen if replicas > 1 else 0)
