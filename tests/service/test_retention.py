"""Expired rows are deleted, all others are kept."""

import time
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select

from infra.database.sqlite import SqliteDatabase, sqlite_url
from service import schema
from service.jobs.idempotency import IDEMPOTENCY_KEYS
from service.jobs.models import EVENTS
from service.retention import BATCH_ROWS, Retention, RetentionTask

pytestmark = pytest.mark.anyio
DAY = 86_400.0


async def test_only_rows_past_their_retention_are_deleted(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "framehook.db")
    schema.upgrade(url)
    database = SqliteDatabase(url)
    now = time.time()
    old, young = now - 31 * DAY, now - 29 * DAY
    event = {"attempt": 1, "status": "complete", "phase": "done", "progress": 100.0, "message": ""}
    key = {"user_id": "alice", "body_hash": "", "job_id": "a"}
    async with database.transaction() as session:
        sequences = range(1, BATCH_ROWS + 10)
        await session.execute(
            insert(EVENTS),
            [event | {"job_id": "a", "sequence": sequence, "at": old} for sequence in sequences],
        )
        await session.execute(insert(EVENTS), [event | {"job_id": "b", "sequence": 1, "at": young}])
        await session.execute(
            insert(IDEMPOTENCY_KEYS),
            [key | {"key": "old", "created_at": now - 2 * DAY}, key | {"key": "young", "created_at": now}],
        )
    deleted = await RetentionTask(database, Retention(events_seconds=30 * DAY)).delete_expired(now=now)
    async with database.reading() as session:
        remaining = (await session.execute(select(EVENTS.c.job_id))).scalars().all()
        keys = (await session.execute(select(IDEMPOTENCY_KEYS.c.key))).scalars().all()
        assert await session.scalar(select(func.count()).select_from(EVENTS)) == 1
    await database.close()
    assert (deleted, remaining, keys) == (BATCH_ROWS + 10, ["b"], ["young"])
