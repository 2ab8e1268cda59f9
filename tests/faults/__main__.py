"""Run fault schedules against both databases until a promise is broken or time is up."""

import argparse
import asyncio
import os
import random
import sys
import time
from functools import partial

from tests.faults.mutations import MUTATIONS
from tests.faults.schedule import Action
from tests.faults.suite import FaultSuite, mutations_for

LANES = 3 * (os.cpu_count() or 1)
"""A schedule mostly waits: for leases, pauses and processes."""
log = partial(print, flush=True)


def main() -> int:
    """Run the suite and return the exit status: 1 after a violation or a mutation that was not caught."""
    arguments = _parser().parse_args()
    failed = False
    for database in ("sqlite", "postgresql"):
        if arguments.database in (database, "both"):
            log(f"{database}: seed {arguments.seed} (--seed {arguments.seed} --database {database})")
            failed |= (_run_mutations if arguments.mutations or arguments.mutation else _run_schedules)(
                arguments, database
            )
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
        "--mutations", action="store_true", help="run with each mutation in turn and say whether it is caught"
    )
    parser.add_argument("--mutation", choices=sorted(MUTATIONS), help="plant this one alone")
    parser.add_argument("--tries", type=int, default=12, help="schedules in which to catch a mutation")
    return parser


def _create_suite(arguments: argparse.Namespace, database: str) -> FaultSuite:
    until = time.monotonic() + arguments.minutes * 60
    return FaultSuite(
        database, arguments.seed, log, replicas=arguments.replicas, lanes=arguments.lanes, until=until
    )


def _run_schedules(arguments: argparse.Namespace, database: str) -> bool:
    suite = _create_suite(arguments, database)
    numbers = [arguments.only] if arguments.only is not None else range(arguments.schedules)
    begun = time.monotonic()
    violations = asyncio.run(suite.run([(arguments.seed, number) for number in numbers]))
    log("\n".join(violations))
    verdict = "VIOLATED" if violations else "no violation"
    log(f"{database}: {suite.counts['schedules']} schedules in {time.monotonic() - begun:.0f} s, {verdict}")
    for what, names in (("done", set(Action)), ("seen", set(suite.counts) - set(Action))):
        counts = sorted((name, suite.counts[name]) for name in names if suite.counts[name])
        log(f"  {what}: " + ", ".join(f"{name}: {count}" for name, count in counts))
    return bool(violations)


def _run_mutations(arguments: argparse.Namespace, database: str) -> bool:
    missed = False
    for mutation in (
        mutation for mutation in mutations_for(database) if arguments.mutation in (None, mutation)
    ):
        suite = _create_suite(arguments, database)
        violations = asyncio.run(suite.run_mutation(mutation, tries=arguments.tries))
        result = (
            f"caught in schedule {suite.counts['schedules']}: {violations[0]}" if violations else "NOT CAUGHT"
        )
        log(f"{database}: {mutation}: {result}")
        missed |= not violations
    return missed


if __name__ == "__main__":
    sys.exit(main())
