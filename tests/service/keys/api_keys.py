"""Create API keys over the API."""

import httpx

from service.keys.scopes import Scope


async def create_key(
    client: httpx.AsyncClient, bearer: dict[str, str], *scopes: Scope, **fields: str
) -> tuple[str, dict[str, str]]:
    """Create a key with these scopes, or with all; return its id, and the header that sends it."""
    body = {"name": "backend", "scopes": list(scopes or Scope)} | fields
    answer = await client.post("/api/keys", json=body, headers=bearer)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"], {"authorization": f"Bearer {answer.json()['key']}"}
