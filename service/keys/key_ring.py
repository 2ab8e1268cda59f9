"""The keys in use, in memory, so that a request asks the database only the first time that its key comes.

A loop reads their rows every two seconds: a key that was revoked or erased, by this process or any other, ends then.
The same loop stores when keys were used.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement

from infra.database.base import Database
from service.clock import Clock
from service.keys import store
from service.keys.key_format import hash_key
from service.keys.models import API_KEYS, ApiKey
from service.keys.scopes import Scope

CHECK_SECONDS: Final = 2.0
STALE_SECONDS: Final = 30.0
"""A key whose row could not be read for so long is not believed any more: a request reads it again, or fails."""
RECORD_SECONDS: Final = 60.0
IDLE_SECONDS: Final = 7_200.0
"""Longer than a stream lasts: the key of an open stream stays in the ring."""


@dataclass(eq=False)
class ActiveKey:
    """A key in use; streams keep it to see when it is revoked.

    `confirmed_at` and `seen_at`, its last use, are on the monotonic clock; `used_at`, the same, and `recorded_at`, the
    last use that the database knows, are on the wall clock.
    """

    key_id: str
    user_id: str
    scopes: frozenset[Scope]
    expires_at: float | None
    confirmed_at: float
    used_at: float
    recorded_at: float
    seen_at: float
    is_revoked: bool = False


class KeyRing:
    """Finds keys by their text or their id."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._keys: dict[str, ActiveKey] = {}
        self._ids: dict[str, str] = {}

    async def find(self, key: str) -> ActiveKey | None:
        """Return the key if it is neither revoked nor expired."""
        key_hash = hash_key(key)
        key_id = self._ids.get(key_hash)
        return await self._find(key_id, API_KEYS.c.key_hash == key_hash)

    async def find_by_id(self, key_id: str) -> ActiveKey | None:
        """Return the key if it is neither revoked nor expired."""
        return await self._find(key_id, API_KEYS.c.key_id == key_id)

    def revoke(self, key_id: str) -> None:
        """End a key that was revoked, without waiting for the loop."""
        if (active := self._keys.get(key_id)) is not None:
            active.is_revoked = True

    async def run(self) -> None:
        """Read the keys in use again and again until cancelled."""
        while True:
            await self.check()
            await asyncio.sleep(CHECK_SECONDS)

    async def check(self) -> None:
        """End the keys that were revoked or erased, store when the others were used, and forget idle ones."""
        keys = list(self._keys.values())
        if not keys:
            return
        began = self._clock.monotonic()
        async with self._database.reading() as session:
            rows = {row.key_id: row for row in await store.list_by_ids(session, [key.key_id for key in keys])}
        for key in keys:
            row = rows.get(key.key_id)
            key.confirmed_at = max(key.confirmed_at, began)
            key.is_revoked |= row is None or row.revoked_at is not None
            if row is not None and row.last_used_at is not None:
                key.recorded_at = max(key.recorded_at, row.last_used_at)
        await self._record_uses(keys)
        self._forget_unused()

    async def _record_uses(self, keys: list[ActiveKey]) -> None:
        due = {key.key_id: key.used_at for key in keys if key.used_at >= key.recorded_at + RECORD_SECONDS}
        if not due:
            return
        async with self._database.transaction() as session:
            await store.record_uses(session, due)
        for key_id, used_at in due.items():
            if (active := self._keys.get(key_id)) is not None:
                active.recorded_at = used_at

    def _forget_unused(self) -> None:
        oldest = self._clock.monotonic() - IDLE_SECONDS
        self._keys = {
            key_id: key for key_id, key in self._keys.items() if not key.is_revoked and key.seen_at > oldest
        }
        self._ids = {key_hash: key_id for key_hash, key_id in self._ids.items() if key_id in self._keys}

    async def _find(self, key_id: str | None, where: ColumnElement[bool]) -> ActiveKey | None:
        active = self._keys.get(key_id) if key_id is not None else None
        if active is None or self._clock.monotonic() > active.confirmed_at + STALE_SECONDS:
            active = await self._load(where)
        now = self._clock.wall()
        if (
            active is None
            or active.is_revoked
            or (active.expires_at is not None and active.expires_at <= now)
        ):
            return None
        active.used_at, active.seen_at = now, self._clock.monotonic()
        return active

    async def _load(self, where: ColumnElement[bool]) -> ActiveKey | None:
        began = self._clock.monotonic()
        async with self._database.reading() as session:
            row = await store.find(session, where)
        if row is None or not row.is_active(self._clock.wall()):
            if row is not None:
                self.revoke(row.key_id)
            return None
        # Requests that came at the same time may have loaded it; streams share one object.
        active = self._keys.setdefault(row.key_id, _to_active(row, began))
        active.confirmed_at = max(active.confirmed_at, began)
        self._ids[row.key_hash] = row.key_id
        return active


def _to_active(row: ApiKey, confirmed_at: float) -> ActiveKey:
    last_used_at = row.last_used_at or 0.0
    return ActiveKey(
        key_id=row.key_id,
        user_id=row.user_id,
        scopes=row.scope_set,
        expires_at=row.expires_at,
        confirmed_at=confirmed_at,
        used_at=last_used_at,
        recorded_at=last_used_at,
        seen_at=confirmed_at,
    )
