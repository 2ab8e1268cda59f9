"""`python -m tests.faults.crash_main`: kill the service repeatedly while it delivers webhooks, then check its log."""

import argparse
import asyncio
import os
import random
import sys
import time
from functools import partial

from tests.faults.crash_loop import Plan, besieged

say = partial(print, flush=True)
DATABASES = {"sqlite": 1, "postgresql": 2}  # and the replicas on each


def main() -> int:
    """The exit status: 1 if a delivery never arrived, or the log of one is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.crash_main", description=__doc__)
    seed = os.environ.get("FAULT_SEED") or random.SystemRandom().randrange(10**6)
    parser.add_argument("--seed", type=int, default=seed)
    parser.add_argument("--kills", type=int, default=200, help="per database")
    parser.add_argument("--deliveries", type=int, default=2_000, help="per database, progress not counted")
    parser.add_argument("--database", choices=(*DATABASES, "both"), default="both")
    arguments = parser.parse_args()
    failed = False
    for database, replicas in DATABASES.items():
        if arguments.database in (database, "both"):
            plan = Plan(arguments.kills, arguments.deliveries, arguments.seed, replicas)
            say(f"{database}: seed {plan.seed} (--seed {plan.seed} --database {database})")
            failed |= asyncio.run(_violated(plan, database))
    return int(failed)


async def _violated(plan: Plan, database: str) -> bool:
    begun = time.monotonic()
    async with besieged(plan, postgresql=database == "postgresql", say=say) as siege:
        violations = await siege.run()
        if violations:
            say("\n".join([*violations, siege.logs()]))
    told = ", ".join(f"{what}: {count}" for what, count in siege.counts.items())
    verdict = f"{len(violations)} VIOLATIONS" if violations else "no violation"
    say(f"{database}: {verdict} in {time.monotonic() - begun:.0f} s; {told}")
    return bool(violations)


if __name__ == "__main__":
    sys.exit(main())
