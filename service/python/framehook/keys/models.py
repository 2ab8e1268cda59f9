"""API keys as the service describes them."""

from datetime import datetime

import msgspec


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key of the user; `key` is set only when it has just been created: it is stored nowhere.

    `hint` is how it begins. `last_used_at` is right to a minute.
    """

    id: str
    name: str
    hint: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None
    key: str | None = None


class ApiKeys(msgspec.Struct, frozen=True):
    """The keys of the user."""

    keys: tuple[ApiKey, ...]
