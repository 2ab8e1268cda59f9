"""The calls on API keys for programs without an event loop."""

from collections.abc import Iterable
from datetime import datetime
from typing import Generic, TypeVar

from framehook.keys.key_calls import KeyCalls
from framehook.keys.models import ApiKey
from framehook.transports.blocking import run

AnyKeyClient = TypeVar("AnyKeyClient", bound=KeyCalls)


class BlockingKeyCalls(Generic[AnyKeyClient]):
    """Requests on the API keys of a user; each method does what that of `KeyCalls` does."""

    _client: AnyKeyClient

    def create_key(self, name: str, scopes: Iterable[str], *, expires_at: datetime | None = None) -> ApiKey:
        """Create an API key that may do what its scopes say, such as `exports:write`."""
        return run(self._client.create_key(name, scopes, expires_at=expires_at))

    def list_keys(self) -> tuple[ApiKey, ...]:
        """Return the API keys, oldest first; those that have ended are kept for a while."""
        return run(self._client.list_keys())

    def revoke_key(self, key: ApiKey | str) -> None:
        """Revoke an API key, by itself or its id; a revoked one may be revoked again."""
        run(self._client.revoke_key(key))
