"""The keys by which clients repeat a request."""

from typing import Final

from sqlalchemy import Table
from sqlmodel import Field, SQLModel


class IdempotencyKey(SQLModel, table=True):
    """A client's key for one request, bound to the user and the hash of the body."""

    __tablename__ = "idempotency_keys"

    user_id: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    body_hash: str
    job_id: str
    created_at: float = Field(index=True)


IDEMPOTENCY_KEYS: Final[Table] = IdempotencyKey.__table__  # type: ignore[attr-defined]
