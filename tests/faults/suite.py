"""Run many schedules, several at a time, and run them against mutations."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.faults.cluster.cluster import Cluster, open_cluster
from tests.faults.cluster.replicas import SERVE, describe_process
from tests.faults.executor import CONVERGE_SECONDS, ScheduleExecutor
from tests.faults.mutations import MUTATIONS, SHOWN_ON, schedule_for
from tests.faults.schedule import Schedule, generate

RENEW_AFTER = 40
"""Schedules that one deployment goes through before a new one takes its place."""
MUTATION_PATIENCE_SECONDS = 60.0
Log = Callable[[str], None]
Plan = Schedule | tuple[int, int]


@dataclass
class FaultSuite:
    """Schedules against one database; `counts` records what happened in them."""

    database: str
    seed: int
    log: Log
    replicas: int = 3
    lanes: int = 1
    until: float = float("inf")  # monotonic
    counts: Counter[str] = field(default_factory=Counter)
    _violations: list[str] = field(default_factory=list)

    async def run(self, plans: Sequence[Plan]) -> list[str]:
        """Run schedules until one is violated; return the violations, the schedule and the replicas' logs.

        `plans`: schedules, or their seed and number. Each lane has a cluster of its own and takes the next plan.
        """
        remaining = deque(plans)
        async with asyncio.TaskGroup() as lanes:
            for _ in range(min(self.lanes, len(plans))):
                lanes.create_task(self._lane(remaining))
        return self._violations

    async def run_mutation(self, mutation: str, *, tries: int) -> list[str]:
        """Return the violations that a mutation causes within this many schedules."""
        program = ("tests.faults.mutations:serve", mutation)
        async with open_cluster(
            postgresql=self._postgresql, replicas=self._replicas, program=program
        ) as cluster:
            for number in range(tries):
                if self._is_over:
                    break
                plan = schedule_for(mutation, generate(self.seed, number, cluster.features))
                await self._run_schedule(cluster, plan, MUTATION_PATIENCE_SECONDS)
        return self._violations

    async def _lane(self, remaining: deque[Plan]) -> None:
        while remaining and not self._is_over:
            async with open_cluster(
                postgresql=self._postgresql, replicas=self._replicas, program=SERVE
            ) as cluster:
                if not cluster.features.disk:
                    self.log("no disk is filled: mounting a small one takes root")
                for _ in range(RENEW_AFTER):
                    if not remaining or self._is_over:
                        break
                    plan = remaining.popleft()
                    schedule = plan if isinstance(plan, Schedule) else generate(*plan, cluster.features)
                    await self._run_schedule(cluster, schedule, CONVERGE_SECONDS)
                self.counts.update(
                    {f"callback {fault}": count for fault, count in cluster.proxy.fault_counts.items()}
                )

    async def _run_schedule(self, cluster: Cluster, schedule: Schedule, convergence_seconds: float) -> None:
        begun = time.monotonic()
        executor = ScheduleExecutor(cluster, schedule, convergence_seconds=convergence_seconds)
        violations = await executor.run()
        self.counts.update(executor.history.counts)
        self.counts["schedules"] += 1
        self.log(f"{schedule.name}: {time.monotonic() - begun:.1f} s, {len(violations)} violations")
        if violations:
            details = [describe_process(pid) for pid in cluster.list_runs()]
            details += [f"--- {replica.log.name}\n{replica.tail()}" for replica in cluster.replicas]
            self._violations += [*violations, str(schedule), *details]

    @property
    def _is_over(self) -> bool:
        return bool(self._violations) or time.monotonic() > self.until

    @property
    def _postgresql(self) -> bool:
        return self.database == "postgresql"

    @property
    def _replicas(self) -> int:
        return self.replicas if self._postgresql else 1


def mutations_for(database: str) -> list[str]:
    """Return the mutations that apply to a database."""
    return [mutation for mutation in MUTATIONS if SHOWN_ON.get(mutation, database) == database]
