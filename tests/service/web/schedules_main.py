"""Play generated schedules to the browser client, or to clients with bugs that they must find."""

import argparse
import asyncio
import logging
import random
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from service.settings import Settings, load_settings
from tests.service.conftest import JWT_SECRET, MASTER
from tests.service.web.client_mutations import MUTATIONS, mutate
from tests.service.web.simulation_process import CLIENT, run_schedules

log = partial(print, flush=True)


def main() -> int:
    """Run the schedules and return the exit status: 1 after a violation, or if a bug was not found."""
    parser = argparse.ArgumentParser(prog="python -m tests.service.web.schedules_main", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--count", type=int, default=2_000)
    parser.add_argument("--mutations", action="store_true", help="play up to 200 to each client with a bug")
    arguments = parser.parse_args()
    logging.disable()
    log(f"seed {arguments.seed} (--seed {arguments.seed} --count {arguments.count})")
    with tempfile.TemporaryDirectory(prefix="framehook-") as folder:
        settings = _load_settings(Path(folder))
        run = _find_mutations if arguments.mutations else _play
        return int(not asyncio.run(run(settings, arguments.seed, arguments.count)))


def _load_settings(folder: Path) -> Settings:
    return load_settings(
        data_dir=folder / "var",
        host="127.0.0.1",
        port=8000,
        callback_secret=MASTER,
        auth_jwt_secret=JWT_SECRET,
        _env_file="",
    )


async def _play(settings: Settings, seed: int, count: int) -> bool:
    begun = time.monotonic()
    report = await run_schedules(settings, seed=seed, count=count)
    failures = report.pop("failures")
    log(f"{time.monotonic() - begun:.0f} s: {report}")
    for failure in failures:
        log(f"--seed {failure['seed']} --count 1:", *failure["violations"], sep="\n  ")
    return not failures


async def _find_mutations(settings: Settings, seed: int, _count: int) -> bool:
    missed = []
    client = settings.data_dir.parent / "mutated.js"
    for name in MUTATIONS:
        client.write_text(mutate(CLIENT.read_text("utf-8"), name), "utf-8")
        report = await run_schedules(settings, seed=seed, count=200, client=client)
        violations = [violation for failure in report["failures"] for violation in failure["violations"]]
        log(f"{name}: {violations[0] if violations else 'NOT FOUND'}")
        missed += [] if violations else [name]
    return not missed


if __name__ == "__main__":
    sys.exit(main())
