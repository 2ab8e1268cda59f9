"""Check that nothing is left of an erased export, and that outputs expire when they should."""

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.faults.checkers.database_reader import DatabaseReader, DatabaseUnavailable, Row
from tests.faults.checkers.violations import History
from tests.faults.cluster.cluster import Cluster

TABLES = ("export_jobs", "export_events", "idempotency_keys", "job_metadata")
SWEEP_SECONDS = 40.0
"""How long the sweeps of erasures may take once all of them are due."""
LAST_SWEEP_SECONDS = 4_600.0
LOOK_SECONDS = 0.2


async def check_erasures(cluster: Cluster, user_id: str, history: History) -> None:
    """Wait for the sweeps, and record what is left of erased exports afterwards."""
    erased = [object_id for object_id in history.removals if object_id in history.job_ids]
    if not erased:
        return
    # It may have been set back since the sweeps were planned, and for less time than between two looks at it.
    set_back = cluster.clock.latest() - cluster.clock.now()
    cluster.clock.step(set_back + LAST_SWEEP_SECONDS)
    if waiting := await _wait_for_sweeps(cluster.database, user_id):
        history.add_violation(f"erasures are not done: {waiting}")
    stubs = await cluster.database.fetch_erasures(user_id)
    for job_id in erased:
        history.require(job_id in stubs, f"job {job_id[-6:]} was erased without a stub")
        for table in TABLES:
            count = await cluster.database.count_rows(table, job_id)
            history.require(not count, f"job {job_id[-6:]} was erased, and {table} has {count} rows of it")
        for path in list_files(cluster.disk.path, job_id):
            history.add_violation(f"job {job_id[-6:]} was erased, and its file {path} is left")
    history.count("erased exports", len(erased))


async def _wait_for_sweeps(database: DatabaseReader, user_id: str) -> dict[str, float]:
    """Wait until no sweep is due; return what still waits when time is up."""
    deadline = time.monotonic() + SWEEP_SECONDS
    while True:
        try:
            erasures = await database.fetch_erasures(user_id)
            waiting = {name: next_at for name, next_at in erasures.items() if next_at is not None}
        except DatabaseUnavailable:
            waiting = {"unknown": 0.0}
        if not waiting or time.monotonic() > deadline:
            return waiting
        await asyncio.sleep(LOOK_SECONDS)


def list_files(folder: Path, job_id: str) -> Iterator[Path]:
    """Yield the files below a folder whose path names an export."""
    for name, _, files in os.walk(folder):
        for file in files:
            path = Path(name, file).relative_to(folder)
            if job_id in str(path):
                yield path


def find_wrong_expiries(rows: Sequence[Row], latest: float) -> Iterator[str]:
    """Yield exports that expired before their time; `latest` is the latest time that the clock has shown."""
    for row in rows:
        if row.has_expired and (row.expires_at is None or row.expires_at > latest):
            yield f"job {row.job_id[-6:]} expired at {latest:.0f}, before its time: {row}"
        if row.expiry_step and row.status != "complete":
            yield f"job {row.job_id[-6:]} has expired, and it is {row.status}: {row}"


def find_unexpired(rows: Sequence[Row], now: float) -> Iterator[str]:
    """Yield exports whose time has come and that have not expired."""
    for row in rows:
        if (
            row.status == "complete"
            and not row.has_expired
            and row.expires_at is not None
            and row.expires_at < now
        ):
            yield f"job {row.job_id[-6:]} has not expired: {row}"
