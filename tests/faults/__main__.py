"""`python -m tests.faults`: schedule after schedule against both databases, until one is violated or time is up."""

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence

from tests.faults.play import Play
from tests.faults.replicas import SERVE, described
from tests.faults.schedule import Schedule, generate
from tests.faults.world import World, opened

RENEW_AFTER = 40
"""Schedules that one deployment goes through before a new one takes its place."""


async def tour(
    world: World, schedules: Sequence[Schedule], *, until: float, counts: Counter[str]
) -> list[str]:
    """Play until one is violated; the violations, with the schedule that led to them."""
    for schedule in schedules:
        if time.monotonic() > until:
            return []
        begun = time.monotonic()
        play = Play(world, schedule)
        violations = await play.run()
        counts.update(play.record.counts)
        counts["schedules"] += 1
        print(f"{schedule.name}: {time.monotonic() - begun:.1f} s, {len(violations)} violations", flush=True)
        if violations:
            logs = [described(pid) for pid in world.runs()]
            logs += [f"--- {replica.log.name}\n{replica.tail()}" for replica in world.replicas]
            return [str(schedule), *violations, *logs]
    return []


async def go(arguments: argparse.Namespace, database: str, seed: int) -> tuple[Counter[str], list[str]]:
    """As many schedules as were asked for, on one database."""
    counts: Counter[str] = Counter()
    until = time.monotonic() + arguments.minutes * 60
    numbers = [arguments.only] if arguments.only is not None else list(range(arguments.schedules))
    replicas = arguments.replicas if database == "postgresql" else 1
    while numbers and time.monotonic() < until:
        few, numbers = numbers[:RENEW_AFTER], numbers[RENEW_AFTER:]
        async with opened(postgresql=database == "postgresql", replicas=replicas, program=SERVE) as world:
            if not world.terrain.disk:
                print("no disk is filled: mounting a small one takes root", flush=True)
            plans = [generate(seed, number, world.terrain) for number in few]
            violations = await tour(world, plans, until=until, counts=counts)
        if violations:
            return counts, violations
    return counts, []


def main() -> int:
    """The exit status: 1 after a violation."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--schedules", type=int, default=250, help="per database")
    parser.add_argument("--minutes", type=float, default=10.0, help="at most, per database")
    parser.add_argument("--only", type=int, help="the number of the one schedule to play")
    parser.add_argument("--replicas", type=int, default=3)
    parser.add_argument("--database", choices=("sqlite", "postgresql", "both"), default="both")
    arguments = parser.parse_args()
    found = 0
    for database in ("sqlite", "postgresql"):
        if arguments.database not in (database, "both"):
            continue
        print(
            f"{database}: seed {arguments.seed} (--seed {arguments.seed} --database {database})", flush=True
        )
        counts, violations = asyncio.run(go(arguments, database, arguments.seed))
        print("\n".join(violations))
        print(f"{database}: {counts['schedules']} schedules, {'VIOLATED' if violations else 'no violation'}")
        print("  " + ", ".join(f"{what}: {count}" for what, count in sorted(counts.items())))
        found |= bool(violations)
    return int(found)


if __name__ == "__main__":
    sys.exit(main())
