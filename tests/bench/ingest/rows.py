"""Insert jobs that a benchmark reports on, without the service."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg

Insert = Callable[[list[str]], None]

COLUMNS = (
    "job_id, user_id, type, config, input_key, output_key, status, phase, progress, message, attempt, "
    "attempt_limit, run, step, sequence, transition_sequence, runner, call_id, not_before, heartbeat_at, "
    "spawned_at, created_at, started_at, completed_at, gpu_seconds"
)


def row(job_id: str, *, status: str = "processing", user_id: str = "local") -> tuple[Any, ...]:
    """Return one job, as far along as its status says."""
    now = time.time()
    phase = "processing" if status == "processing" else "done"
    ended = None if status == "processing" else now
    head = (
        job_id,
        user_id,
        "framing",
        "{}",
        "a.mp4",
        f"exports/{job_id}.mp4",
        status,
        phase,
        0.0,
        "",
        1,
        3,
        "",
        0,
    )
    return (*head, 1, 1, "bench", f"bench-{job_id}", 0.0, now, now, now, now, ended, 0.0)


def sqlite_rows(path: Path, *, user_id: str = "local") -> Insert:
    """Return a function that inserts jobs of a user into a SQLite file."""

    def insert(job_ids: list[str]) -> None:
        connection = sqlite3.connect(path, timeout=10)
        with connection:
            places = ", ".join("?" * len(row("")))
            statement = f"INSERT INTO export_jobs ({COLUMNS}) VALUES ({places})"  # noqa: S608 - made of constants
            connection.executemany(statement, (row(job_id, user_id=user_id) for job_id in job_ids))
        connection.close()

    return insert


def postgresql_rows(url: str) -> Insert:
    """Return a function that inserts jobs into a PostgreSQL database."""

    async def write(job_ids: list[str]) -> None:
        connection = await asyncpg.connect(url)
        try:
            names = [name.strip() for name in COLUMNS.split(",")]
            await connection.copy_records_to_table("export_jobs", records=map(row, job_ids), columns=names)
        finally:
            await connection.close()

    return lambda job_ids: asyncio.run(write(job_ids))


def usual_rows(path: Path) -> Insert:
    """Return a function that creates the usual application's table and its jobs."""

    def insert(job_ids: list[str]) -> None:
        connection = sqlite3.connect(path, timeout=10)
        connection.execute("PRAGMA journal_mode=WAL")
        with connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS usual_jobs (job_id VARCHAR PRIMARY KEY, status VARCHAR, phase VARCHAR, "
                "progress FLOAT, message VARCHAR, step INTEGER, sequence INTEGER, updated_at FLOAT)"
            )
            connection.executemany(
                "INSERT INTO usual_jobs VALUES (?, 'processing', 'processing', 0, '', 0, 0, 0)",
                [(job_id,) for job_id in job_ids],
            )
        connection.close()

    return insert
