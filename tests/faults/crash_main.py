"""Kill the service repeatedly while it delivers webhooks, then check its log."""

import argparse
import asyncio
import os
import random
import sys
import time
from dataclasses import replace
from functools import partial

from tests.faults.crash_loop import CrashLoop, open_crash_loop
from tests.faults.crash_plan import Plan
from tests.faults.days.day_loop import DayLoop
from tests.faults.days.day_mutations import DAY_MUTATIONS
from tests.faults.listener_loop import LISTENER_ENDPOINTS, ListenerLoop

log = partial(print, flush=True)
DATABASES = {"sqlite": 1, "postgresql": 2}  # and the replicas on each


def main() -> int:
    """Run the crash loop and return the exit status: 1 after a violation."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.crash_main", description=__doc__)
    seed = os.environ.get("FAULT_SEED") or random.SystemRandom().randrange(10**6)
    parser.add_argument("--seed", type=int, default=seed)
    parser.add_argument("--kills", type=int, default=200, help="per database")
    parser.add_argument("--deliveries", type=int, default=2_000, help="per database, progress not counted")
    parser.add_argument("--database", choices=(*DATABASES, "both"), default="both")
    parser.add_argument(
        "--listeners", action="store_true", help="forward by `framehook webhooks listen`, and break that, too"
    )
    parser.add_argument(
        "--days", type=float, default=0.0, help="let days pass, in which receivers are down for hours"
    )
    parser.add_argument(
        "--mutations",
        action="store_true",
        help="with --days: run each mutation, and say whether it is caught",
    )
    arguments = parser.parse_args()
    failed = False
    for database, replicas in DATABASES.items():
        if arguments.database in (database, "both"):
            plan = Plan(arguments.kills, arguments.deliveries, arguments.seed, replicas, days=arguments.days)
            if arguments.listeners:
                plan = replace(plan, endpoints=LISTENER_ENDPOINTS)
            log(f"{database}: seed {plan.seed} (--seed {plan.seed} --database {database})")
            if arguments.mutations:
                failed |= _run_mutations(plan, database)
            else:
                failed |= asyncio.run(_run(plan, database, _choose_loop(arguments)))
    return int(failed)


def _choose_loop(arguments: argparse.Namespace) -> type[CrashLoop]:
    if arguments.listeners:
        return ListenerLoop
    return DayLoop if arguments.days else CrashLoop


def _run_mutations(plan: Plan, database: str) -> bool:
    """Return whether a mutation was not caught."""
    missed = []
    for mutation in DAY_MUTATIONS:
        log(f"{database}: {mutation}")
        mutated = replace(plan, program=("tests.faults.days.day_mutations:serve", mutation))
        if not asyncio.run(_run(mutated, database, DayLoop)):
            missed.append(mutation)
    log(f"{database}: {f'NOT caught: {missed}' if missed else 'all mutations are caught'}")
    return bool(missed)


async def _run(plan: Plan, database: str, loop_type: type[CrashLoop]) -> bool:
    begun = time.monotonic()
    is_postgresql = database == "postgresql"
    async with open_crash_loop(plan, postgresql=is_postgresql, log=log, loop_type=loop_type) as crash_loop:
        violations = await crash_loop.run()
        if violations:
            log("\n".join([*violations, crash_loop.logs()]))
    counts = ", ".join(f"{what}: {count}" for what, count in crash_loop.counts.items())
    verdict = f"{len(violations)} VIOLATIONS" if violations else "no violation"
    log(f"{database}: {verdict} in {time.monotonic() - begun:.0f} s; {counts}")
    return bool(violations)


if __name__ == "__main__":
    sys.exit(main())
