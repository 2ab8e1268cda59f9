"""The calls on API keys, which take a token of the user: a key can't manage keys."""

from collections.abc import Iterable
from datetime import datetime
from urllib.parse import quote

from framehook.http_client import HttpClient
from framehook.keys.models import ApiKey, ApiKeys
from framehook.options import drop_none

KEYS = "/api/keys"


class KeyCalls:
    """Requests on the API keys of a user."""

    _http: HttpClient

    async def create_key(
        self, name: str, scopes: Iterable[str], *, expires_at: datetime | None = None
    ) -> ApiKey:
        """Create an API key that may do what its scopes say, such as `exports:write`.

        Only this answer has the `key` itself. `expires_at` needs a time zone; without it the key does not expire.
        """
        body = drop_none({"name": name, "scopes": list(scopes), "expires_at": expires_at})
        return await self._http.load(ApiKey, "POST", KEYS, body=body, is_idempotent=False)

    async def list_keys(self) -> tuple[ApiKey, ...]:
        """Return the API keys, oldest first; those that have ended are kept for a while."""
        return (await self._http.load(ApiKeys, "GET", KEYS)).keys

    async def revoke_key(self, key: ApiKey | str) -> None:
        """Revoke an API key, by itself or its id; a revoked one may be revoked again."""
        key_id = key.id if isinstance(key, ApiKey) else key
        await self._http.request("DELETE", f"{KEYS}/{quote(key_id, safe='')}")
