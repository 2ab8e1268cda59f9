"""The learned rates in the database, shared by all replicas. These functions take a session and never commit."""

from collections.abc import Sequence

import msgspec
from sqlalchemy import bindparam, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import Field, SQLModel

from infra.database.base import dialect_of
from service.forecast.rates import FORGET_SECONDS, Rate

_COLUMNS = ", ".join(Rate.__struct_fields__)
_SELECT = text(f"SELECT {_COLUMNS} FROM run_rates WHERE learned_at > :after")  # noqa: S608 - made of constants
_SELECT_KINDS = text(f"SELECT {_COLUMNS} FROM run_rates WHERE kind IN :kinds").bindparams(  # noqa: S608
    bindparam("kinds", expanding=True)
)
_UPSERT = text(
    f"INSERT INTO run_rates ({_COLUMNS}) VALUES ({', '.join(':' + name for name in Rate.__struct_fields__)}) "  # noqa: S608
    "ON CONFLICT (kind) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in Rate.__struct_fields__ if name != "kind")
)
_DELETE_OLD = text("DELETE FROM run_rates WHERE learned_at < :before")
_LOCK_KEY = "framehook rates"


class RunRate(SQLModel, table=True):
    """A row of `Rate`."""

    __tablename__ = "run_rates"

    kind: str = Field(primary_key=True)
    log_ratio: float
    variance: float
    weight: float
    factor: float
    learned_at: float = Field(index=True)


async def list_rates(session: AsyncSession, *, after: float = 0.0) -> list[Rate]:
    """Return the rates that were learned after a time."""
    return [_to_rate(row) for row in (await session.execute(_SELECT, {"after": after})).mappings()]


async def lock_rates(session: AsyncSession, kinds: Sequence[str]) -> list[Rate]:
    """Return the rates of these kinds; until the transaction ends, no other replica learns."""
    await dialect_of(session).lock(session, _LOCK_KEY)
    return [_to_rate(row) for row in (await session.execute(_SELECT_KINDS, {"kinds": kinds})).mappings()]


async def save_rates(session: AsyncSession, rates: Sequence[Rate], *, now: float) -> None:
    """Store rates, and delete those of kinds that have had no run for months."""
    await session.execute(_UPSERT, [msgspec.structs.asdict(rate) for rate in rates])
    await session.execute(_DELETE_OLD, {"before": now - FORGET_SECONDS})


def _to_rate(row: object) -> Rate:
    return msgspec.convert(dict(row), Rate)  # type: ignore[call-overload]
