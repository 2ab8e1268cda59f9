"""Create, list, find and revoke keys. Functions that take a session never commit."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Float, and_, bindparam, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.audit.actions import Action
from service.audit.log import record
from service.jobs.ids import new_id
from service.keys.key_format import HINT_CHARACTERS, generate_key, hash_key
from service.keys.models import API_KEYS, KEY_PREFIX, ApiKey
from service.keys.scopes import Scope
from service.problems import Conflict

MAX_ACTIVE_KEYS: Final = 100
"""How many keys of a user may be active at a time."""
IDS_AT_ONCE: Final = 1_000


class TooManyKeys(Conflict):
    title = f"You have {MAX_ACTIVE_KEYS} active API keys, which is the maximum; revoke one first."
    code = "too_many_keys"


async def create(
    session: AsyncSession,
    user_id: str,
    *,
    name: str,
    scopes: Sequence[Scope],
    expires_at: float | None,
    now: float,
) -> tuple[ApiKey, str]:
    """Create a key; return its row, and the key itself, which is stored nowhere. Raises TooManyKeys.

    The caller has locked the user.
    """
    own = and_(API_KEYS.c.user_id == user_id, _match_active(now))
    count = await session.scalar(select(func.count()).select_from(API_KEYS).where(own))
    if int(count or 0) >= MAX_ACTIVE_KEYS:
        raise TooManyKeys
    key = generate_key()
    row = ApiKey(
        key_id=KEY_PREFIX + new_id(now),
        user_id=user_id,
        name=name,
        key_hash=hash_key(key),
        hint=key[:HINT_CHARACTERS],
        scopes=",".join(scope for scope in Scope if scope in scopes),
        created_at=now,
        expires_at=expires_at,
    )
    await session.execute(
        insert(API_KEYS).values({name: getattr(row, name) for name in row.__struct_fields__})
    )
    await record(session, Action.KEY_CREATED, user_id, [row.key_id], now=now)
    return row, key


async def list_by_user(session: AsyncSession, user_id: str | None) -> list[ApiKey]:
    """Return the keys of a user, or those of all users, oldest first."""
    query = select(API_KEYS).order_by(API_KEYS.c.user_id, API_KEYS.c.key_id)
    if user_id is not None:
        query = query.where(API_KEYS.c.user_id == user_id)
    return [_to_key(row) for row in (await session.execute(query)).mappings()]


async def revoke(session: AsyncSession, key_id: str, user_id: str | None, *, now: float) -> ApiKey | None:
    """Revoke a key, of this user or of any; return it if this has changed it."""
    conditions = [API_KEYS.c.key_id == key_id, API_KEYS.c.revoked_at.is_(None)]
    if user_id is not None:
        conditions.append(API_KEYS.c.user_id == user_id)
    statement = update(API_KEYS).where(*conditions).values(revoked_at=now).returning(API_KEYS)
    row = (await session.execute(statement)).mappings().one_or_none()
    if row is None:
        return None
    await record(session, Action.KEY_REVOKED, row["user_id"], [key_id], now=now)
    return _to_key(row)


async def find(session: AsyncSession, where: ColumnElement[bool]) -> ApiKey | None:
    """Return the key that meets a condition."""
    row = (await session.execute(select(API_KEYS).where(where))).mappings().one_or_none()
    return _to_key(row) if row else None


async def list_by_ids(session: AsyncSession, key_ids: Sequence[str]) -> list[ApiKey]:
    """Return the keys with these ids that were not erased."""
    keys: list[ApiKey] = []
    for first in range(0, len(key_ids), IDS_AT_ONCE):
        query = select(API_KEYS).where(API_KEYS.c.key_id.in_(key_ids[first : first + IDS_AT_ONCE]))
        keys += [_to_key(row) for row in (await session.execute(query)).mappings()]
    return keys


async def record_uses(session: AsyncSession, used_at: Mapping[str, float]) -> None:
    """Store when keys were last used, unless another replica has stored a later use."""
    last_used, used = API_KEYS.c.last_used_at, bindparam("used", type_=Float)
    is_older = or_(last_used.is_(None), last_used < used)
    statement = (
        update(API_KEYS).where(API_KEYS.c.key_id == bindparam("id"), is_older).values(last_used_at=used)
    )
    connection = await session.connection()
    await connection.execute(statement, [{"id": key_id, "used": at} for key_id, at in used_at.items()])


def match_ended(before: float) -> ColumnElement[bool]:
    """Match keys that were revoked or had expired by a time."""
    return or_(API_KEYS.c.revoked_at <= before, API_KEYS.c.expires_at <= before)


def _match_active(now: float) -> ColumnElement[bool]:
    expires_at = API_KEYS.c.expires_at
    return and_(API_KEYS.c.revoked_at.is_(None), or_(expires_at.is_(None), expires_at > now))


def _to_key(row: Mapping[Any, Any]) -> ApiKey:
    return msgspec.convert({**row}, ApiKey)
