"""The table of API keys, and `ApiKey`: its rows."""

from typing import Final

import msgspec
from sqlalchemy import Index, Table
from sqlmodel import SQLModel

from service.jobs.columns import PrimaryKey, table_columns
from service.keys.scopes import Scope

KEY_PREFIX: Final = "key_"


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key of a user: a row of `api_keys`, whose columns are these fields.

    The key itself is not stored: `key_hash` is its SHA-256, `hint` its first characters. `scopes` is separated by
    commas. Times are in seconds since the epoch; `last_used_at` is right to a minute.
    """

    key_id: PrimaryKey
    user_id: str
    name: str
    key_hash: str
    hint: str
    scopes: str
    created_at: float
    expires_at: float | None = None
    last_used_at: float | None = None
    revoked_at: float | None = None

    @property
    def scope_set(self) -> frozenset[Scope]:
        """What the key may do."""
        return frozenset(Scope(scope) for scope in self.scopes.split(","))

    def is_active(self, now: float) -> bool:
        """Tell whether the key is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)


API_KEYS: Final = Table(
    "api_keys",
    SQLModel.metadata,
    *table_columns(ApiKey),
    Index("ix_api_keys_hash", "key_hash", unique=True),
    Index("ix_api_keys_user", "user_id", "key_id"),
)
