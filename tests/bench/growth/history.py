"""Fill a database as many exports would, with a few statements that the database runs itself.

Half of the finished exports belong to a few users with a long history each, the other half to as many users. There is
an endpoint and a row of recent service for each export, too, so that users and endpoints grow as exports do.
"""

import os
import sqlite3
from pathlib import Path

import asyncpg

from service.jobs.metadata import digest_entry

USERS = 4
"""Users with a long history, `user-0` and so on."""
ACTIVE = 200
"""Active jobs, the same for each history: half of them run, half wait to be claimed."""
DUE = 64
"""Deliveries that are due, for the endpoints of these users."""
UNSEEN = 200
"""Finished exports that their users have not acknowledged yet, the newest."""
_STEP_SECONDS = 2.5
"""A million exports in a month."""

_JOBS = """
INSERT INTO export_jobs (job_id, user_id, project_id, type, config, input_key, output_key, status, phase, progress,
    metadata, message, output_size, output_checksum, output_duration, output_width, output_height, attempt,
    attempt_limit, run, step, sequence, transition_sequence, runner, call_id, not_before, heartbeat_at, spawned_at,
    created_at, started_at, completed_at, acknowledged_at, gpu_seconds, batch_id)
SELECT {id}, {user}, 'project-' || (n % 7), 'framing', {config}, 'uploads/match.mp4', 'exports/' || {id} || '.mp4',
    'complete', 'done', 100, CASE WHEN n % 7 = 3 THEN '{{"league":"cup"}}' END, 'Finished',
    1048576, 'sha256:' || {id}, 12.5, 1280, 720, 1, 3, '', 9, 12, 12, 'modal', 'fc-' || n, 0,
    {at}, {at}, {at}, {at}, {at}, CASE WHEN n <= {seen} THEN {at} END, 12.5,
    {user} || '-batch-' || (n / {batch_span}) FROM {numbers}
"""
_BATCHES = """
INSERT INTO export_batches (batch_id, user_id, exports, created_at, completed_at)
SELECT batch_id, user_id, count(*), min(created_at), max(completed_at) FROM export_jobs
WHERE batch_id IS NOT NULL GROUP BY batch_id, user_id
"""
_USAGE = """
INSERT INTO usage_days (day, user_id, project_id, type, exports, output_seconds, gpu_seconds, cost_usd,
    unpriced_gpu_seconds)
SELECT CAST(completed_at / 86400 AS integer), user_id, project_id, type, count(*), sum(output_duration),
    sum(gpu_seconds), 0, 0
FROM export_jobs WHERE status = 'complete' GROUP BY CAST(completed_at / 86400 AS integer), user_id, project_id, type
"""
_METADATA = """
INSERT INTO job_metadata (user_id, entry, job_id) SELECT {user}, '{entry}', {id} FROM {numbers} WHERE n % 7 = 3
"""
_EVENTS = """
INSERT INTO export_events (job_id, sequence, at, attempt, status, phase, progress, message)
SELECT {id}, {sequence}, {at}, 1, 'complete', '{phase}', 100, 'Finished' FROM {numbers}
"""
_UNDER_WAY = """
INSERT INTO export_jobs (job_id, user_id, type, config, input_key, output_key, status, phase, progress, message,
    attempt, attempt_limit, run, step, sequence, transition_sequence, runner, call_id, not_before, heartbeat_at,
    created_at, started_at, gpu_seconds)
SELECT 'active-' || {padded}, 'user-' || (n % {users}), 'framing', {config}, 'uploads/match.mp4', 'exports/a.mp4',
    CASE WHEN n % 2 = 0 THEN 'processing' ELSE 'pending' END, CASE WHEN n % 2 = 0 THEN 'processing' ELSE 'queued' END,
    0, '', 1, 3, '', 0, 1, 1, 'modal', CASE WHEN n % 2 = 0 THEN 'fc-' || n END, 0, {now}, {now}, {now}, 0
FROM {numbers}
"""
_ENDPOINTS = """
INSERT INTO webhook_endpoints (endpoint_id, user_id, url, description, events, secret, enabled, created_at)
SELECT 'ep_' || n, 'light-' || n, 'https://example.com', '', 'export.completed', '', {true}, 0 FROM {numbers}
"""
_HEAVY_ENDPOINTS = """
INSERT INTO webhook_endpoints (endpoint_id, user_id, url, description, events, secret, enabled, created_at)
SELECT 'heavy_' || (n - 1), 'user-' || (n - 1), 'https://example.com', '', 'export.completed', '', {true}, 0
FROM {numbers}
"""
_SERVICE = """
INSERT INTO user_service (user_id, seconds, at) SELECT 'light-' || n, 12.5, {now} FROM {numbers}
"""
_DELIVERIES = """
INSERT INTO webhook_deliveries (delivery_id, endpoint_id, user_id, job_id, sequence, type, payload, state, tries,
    attempts, requested, next_at, created_at, ended_at)
SELECT {id}, {endpoint}, {user}, {id}, 12, 'export.completed', {config}, 'delivered', 0, 1, {false}, {at}, {at}, {at}
FROM {numbers}
"""
_DUE = """
INSERT INTO webhook_deliveries (delivery_id, endpoint_id, user_id, job_id, sequence, type, payload, state, tries,
    attempts, requested, next_at, created_at)
SELECT 'due-' || {padded}, 'heavy_' || (n % {users}), 'user-' || (n % {users}), 'active-' || {padded}, 12,
    'export.completed', {config}, 'pending', 0, 0, {false}, {now}, {now} FROM {numbers}
"""
_NUMBERS = """(
    WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count})
    SELECT n FROM numbers
)"""
_FILLED = (
    "export_jobs",
    "job_metadata",
    "export_batches",
    "usage_days",
    "export_events",
    "webhook_deliveries",
    "webhook_endpoints",
    "user_service",
)


def statements(
    finished: int, now: float, *, numbers: str, padded: str, booleans: tuple[str, str]
) -> list[str]:
    """Return the statements: `numbers` yields rows `n` from 1 to a count, `padded` writes n with zeros."""
    common = {
        "users": USERS,
        "user": f"CASE WHEN n % 2 = 0 THEN 'user-' || (n / 2 % {USERS}) ELSE 'light-' || n END",
        "endpoint": f"CASE WHEN n % 2 = 0 THEN 'heavy_' || (n / 2 % {USERS}) ELSE 'ep_' || n END",
        "id": f"'01890000-0000-7000-8000-' || {padded}",
        "entry": digest_entry("league", "cup"),
        "padded": padded,
        "config": f"'{'x' * 300}'",
        "seen": finished - UNSEEN,
        "batch_span": 100,
        "at": f"({now} - ({finished} - n) * {_STEP_SECONDS})",
        "now": now,
        "true": booleans[0],
        "false": booleans[1],
    }
    many = numbers.format(count=finished)
    events = [
        _EVENTS.format(**common, sequence=sequence, phase=phase, numbers=many)
        for sequence, phase in ((1, "queued"), (12, "done"))
    ]
    return [
        _JOBS.format(**common, numbers=many),
        *events,
        _METADATA.format(**common, numbers=many),
        _BATCHES,
        _USAGE,
        _UNDER_WAY.format(**common, numbers=numbers.format(count=ACTIVE)),
        _ENDPOINTS.format(**common, numbers=many),
        _HEAVY_ENDPOINTS.format(**common, numbers=numbers.format(count=USERS)),
        _SERVICE.format(**common, numbers=many),
        _DELIVERIES.format(**common, numbers=many),
        _DUE.format(**common, numbers=numbers.format(count=DUE)),
    ]


def fill_sqlite(path: Path, finished: int, now: float) -> None:
    """Write the history into a SQLite file that has the schema."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA cache_size = -500000")
    with connection:
        for statement in statements(
            finished,
            now,
            numbers=_NUMBERS,
            padded="printf('%012d', n)",
            booleans=("1", "0"),
        ):
            connection.execute(statement)
    connection.execute("ANALYZE")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    os.sync()  # else later commits would wait for what is written back then


async def fill_postgresql(url: str, finished: int, now: float) -> None:
    """Write the history into a PostgreSQL database that has the schema."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SET synchronous_commit = off")
        for statement in statements(
            finished,
            now,
            numbers="generate_series(1, {count}) AS numbers (n)",
            padded="lpad(n::text, 12, '0')",
            booleans=("true", "false"),
        ):
            await connection.execute(statement)
        for table in _FILLED:
            await connection.execute(f"VACUUM ANALYZE {table}")
        await connection.execute("CHECKPOINT")
        os.sync()
    finally:
        await connection.close()
