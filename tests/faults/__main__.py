"""`python -m tests.faults`: schedule after schedule against both databases, until one is violated or time is up."""

import argparse
import asyncio
import os
import random
import sys
import time
from functools import partial

from tests.faults.mutations import BUGS
from tests.faults.schedule import Act
from tests.faults.suite import Tour, bugs_for

LANES = 3 * (os.cpu_count() or 1)
"""A schedule mostly waits: for leases, pauses and processes."""
say = partial(print, flush=True)


def main() -> int:
    """The exit status: 1 after a violation, or for a planted bug that was not found."""
    arguments = _parser().parse_args()
    failed = False
    for database in ("sqlite", "postgresql"):
        if arguments.database in (database, "both"):
            say(f"{database}: seed {arguments.seed} (--seed {arguments.seed} --database {database})")
            failed |= (_planted if arguments.planted or arguments.bug else _played)(arguments, database)
    return int(failed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    seed = os.environ.get("FAULT_SEED") or random.SystemRandom().randrange(10**6)
    parser.add_argument("--seed", type=int, default=seed)
    parser.add_argument("--schedules", type=int, default=250, help="per database")
    parser.add_argument("--minutes", type=float, default=10.0, help="at most, per database")
    parser.add_argument("--only", type=int, help="the number of the one schedule to play")
    parser.add_argument("--replicas", type=int, default=3)
    parser.add_argument("--lanes", type=int, default=LANES, help="deployments at a time")
    parser.add_argument("--database", choices=("sqlite", "postgresql", "both"), default="both")
    parser.add_argument(
        "--planted", action="store_true", help="plant each bug in turn, and say if it is found"
    )
    parser.add_argument("--bug", choices=sorted(BUGS), help="plant this one alone")
    parser.add_argument("--tries", type=int, default=12, help="schedules to find a planted bug in")
    return parser


def _tour(arguments: argparse.Namespace, database: str) -> Tour:
    until = time.monotonic() + arguments.minutes * 60
    return Tour(
        database, arguments.seed, say, replicas=arguments.replicas, lanes=arguments.lanes, until=until
    )


def _played(arguments: argparse.Namespace, database: str) -> bool:
    tour = _tour(arguments, database)
    numbers = [arguments.only] if arguments.only is not None else range(arguments.schedules)
    begun = time.monotonic()
    violations = asyncio.run(tour.play([(arguments.seed, number) for number in numbers]))
    say("\n".join(violations))
    verdict = "VIOLATED" if violations else "no violation"
    say(f"{database}: {tour.counts['schedules']} schedules in {time.monotonic() - begun:.0f} s, {verdict}")
    for what, names in (("done", set(Act)), ("seen", set(tour.counts) - set(Act))):
        told = sorted((name, tour.counts[name]) for name in names if tour.counts[name])
        say(f"  {what}: " + ", ".join(f"{name}: {count}" for name, count in told))
    return bool(violations)


def _planted(arguments: argparse.Namespace, database: str) -> bool:
    missed = False
    for bug in (bug for bug in bugs_for(database) if arguments.bug in (None, bug)):
        tour = _tour(arguments, database)
        violations = asyncio.run(tour.with_bug(bug, tries=arguments.tries))
        found = (
            f"caught in schedule {tour.counts['schedules']}: {violations[0]}" if violations else "NOT CAUGHT"
        )
        say(f"{database}: {bug}: {found}")
        missed |= not violations
    return missed


if __name__ == "__main__":
    sys.exit(main())
