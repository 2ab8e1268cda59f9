"""Many schedules, several at a time, and the same with bugs planted."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.faults.cluster.cluster import World, opened
from tests.faults.cluster.replicas import SERVE, described
from tests.faults.executor import CONVERGE_SECONDS, Play
from tests.faults.mutations import BUGS, POSTGRESQL_ONLY, provoked
from tests.faults.schedule import Schedule, generate

RENEW_AFTER = 40
"""Schedules that one deployment goes through before a new one takes its place."""
PLANTED_PATIENCE_SECONDS = 25.0
Say = Callable[[str], None]
Plan = Schedule | tuple[int, int]


@dataclass
class Tour:
    """Schedules against one database; `counts` says what happened in them."""

    database: str
    seed: int
    say: Say
    replicas: int = 3
    lanes: int = 1
    until: float = float("inf")  # monotonic
    counts: Counter[str] = field(default_factory=Counter)
    _violations: list[str] = field(default_factory=list)

    async def play(self, plans: Sequence[Plan]) -> list[str]:
        """Until one is violated: the violations, the schedule that led to them, and the replicas' logs.

        `plans`: each schedule, or its seed and number. Each lane has a deployment of its own, and takes the next one.
        """
        left = deque(plans)
        async with asyncio.TaskGroup() as lanes:
            for _ in range(min(self.lanes, len(plans))):
                lanes.create_task(self._lane(left))
        return self._violations

    async def with_bug(self, bug: str, *, tries: int) -> list[str]:
        """The violations that a planted bug leads to, within this many schedules."""
        program = ("tests.faults.mutations:serve", bug)
        async with opened(postgresql=self._postgresql, replicas=self._replicas, program=program) as world:
            for number in range(tries):
                if self._over:
                    break
                plan = provoked(bug, generate(self.seed, number, world.terrain))
                await self._through(world, plan, PLANTED_PATIENCE_SECONDS)
        return self._violations

    async def _lane(self, left: deque[Plan]) -> None:
        while left and not self._over:
            async with opened(postgresql=self._postgresql, replicas=self._replicas, program=SERVE) as world:
                if not world.terrain.disk:
                    self.say("no disk is filled: mounting a small one takes root")
                for _ in range(RENEW_AFTER):
                    if not left or self._over:
                        break
                    plan = left.popleft()
                    schedule = plan if isinstance(plan, Schedule) else generate(*plan, world.terrain)
                    await self._through(world, schedule, CONVERGE_SECONDS)
                self.counts.update({f"callback {fate}": count for fate, count in world.proxy.fates.items()})

    async def _through(self, world: World, schedule: Schedule, patience_seconds: float) -> None:
        begun = time.monotonic()
        play = Play(world, schedule, patience_seconds=patience_seconds)
        violations = await play.run()
        self.counts.update(play.record.counts)
        self.counts["schedules"] += 1
        self.say(f"{schedule.name}: {time.monotonic() - begun:.1f} s, {len(violations)} violations")
        if violations:
            told = [described(pid) for pid in world.runs()]
            told += [f"--- {replica.log.name}\n{replica.tail()}" for replica in world.replicas]
            self._violations += [*violations, str(schedule), *told]

    @property
    def _over(self) -> bool:
        return bool(self._violations) or time.monotonic() > self.until

    @property
    def _postgresql(self) -> bool:
        return self.database == "postgresql"

    @property
    def _replicas(self) -> int:
        return self.replicas if self._postgresql else 1


def bugs_for(database: str) -> list[str]:
    """The bugs that can be planted on a database."""
    return [bug for bug in BUGS if database == "postgresql" or bug not in POSTGRESQL_ONLY]
