"""Many schedules in a row, and the same with bugs planted."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.faults.planted import BUGS, POSTGRESQL_ONLY, provoked
from tests.faults.play import CONVERGE_SECONDS, Play
from tests.faults.replicas import SERVE, described
from tests.faults.schedule import Schedule, generate
from tests.faults.world import World, opened

RENEW_AFTER = 40
"""Schedules that one deployment goes through before a new one takes its place."""
PLANTED_PATIENCE_SECONDS = 25.0
Say = Callable[[str], None]


@dataclass
class Tour:
    """Schedules against one database; `counts` says what happened in them."""

    database: str
    seed: int
    say: Say
    replicas: int = 3
    until: float = float("inf")  # monotonic
    counts: Counter[str] = field(default_factory=Counter)

    async def play(self, numbers: Sequence[int], *, and_then: tuple[int, int] | None = None) -> list[str]:
        """Until one is violated: the violations, the schedule that led to them, and the replicas' logs.

        `and_then`: the seed and number of one more schedule.
        """
        left = [(self.seed, number) for number in numbers] + ([and_then] if and_then else [])
        while left and time.monotonic() < self.until:
            few, left = left[:RENEW_AFTER], left[RENEW_AFTER:]
            async with opened(postgresql=self._postgresql, replicas=self._replicas, program=SERVE) as world:
                if not world.terrain.disk:
                    self.say("no disk is filled: mounting a small one takes root")
                plans = [generate(*each, world.terrain) for each in few]
                if violations := await self._through(world, plans, CONVERGE_SECONDS):
                    return violations
        return []

    async def with_bug(self, bug: str, *, tries: int) -> list[str]:
        """The violations that a planted bug leads to, within this many schedules."""
        program = ("-m", "tests.faults.planted", bug)
        async with opened(postgresql=self._postgresql, replicas=self._replicas, program=program) as world:
            plans = [provoked(bug, generate(self.seed, number, world.terrain)) for number in range(tries)]
            return await self._through(world, plans, PLANTED_PATIENCE_SECONDS)

    async def _through(self, world: World, plans: Sequence[Schedule], patience_seconds: float) -> list[str]:
        for schedule in plans:
            if time.monotonic() > self.until:
                break
            begun = time.monotonic()
            play = Play(world, schedule, patience_seconds=patience_seconds)
            violations = await play.run()
            self.counts.update(play.record.counts)
            self.counts["schedules"] += 1
            self.say(f"{schedule.name}: {time.monotonic() - begun:.1f} s, {len(violations)} violations")
            if violations:
                told = [described(pid) for pid in world.runs()]
                told += [f"--- {replica.log.name}\n{replica.tail()}" for replica in world.replicas]
                return [*violations, str(schedule), *told]
        return []

    @property
    def _postgresql(self) -> bool:
        return self.database == "postgresql"

    @property
    def _replicas(self) -> int:
        return self.replicas if self._postgresql else 1


def bugs_for(database: str) -> list[str]:
    """The bugs that can be planted on a database."""
    return [bug for bug in BUGS if database == "postgresql" or bug not in POSTGRESQL_ONLY]
