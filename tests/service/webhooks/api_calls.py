"""Calls of the webhooks API, as a consumer makes them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

JsonObject = dict[str, Any]
WITHIN_SECONDS = 10


async def create_endpoint(client: httpx.AsyncClient, url: str, **fields: Any) -> JsonObject:
    """Create an endpoint and return it with its secret; `headers` go with the request."""
    headers = fields.pop("headers", None)
    response = await client.post("/api/webhooks", json={"url": url, **fields}, headers=headers)
    assert response.status_code == 201, response.text
    return _decode(response)


async def patch_endpoint(client: httpx.AsyncClient, endpoint: JsonObject, **changes: Any) -> JsonObject:
    response = await client.patch(path(endpoint), json=changes)
    assert response.status_code == 200, response.text
    return _decode(response)


async def rotate_secret(client: httpx.AsyncClient, endpoint: JsonObject) -> JsonObject:
    response = await client.post(path(endpoint, "rotate"))
    assert response.status_code == 200, response.text
    return _decode(response)


async def send_test_event(client: httpx.AsyncClient, endpoint: JsonObject) -> JsonObject:
    """Send a test event and return its delivery when it has ended."""
    response = await client.post(path(endpoint, "test"))
    assert response.status_code == 202, response.text
    return await wait_ended(client, endpoint, response.json()["delivery_id"])


async def wait_ended(client: httpx.AsyncClient, endpoint: JsonObject, delivery_id: str) -> JsonObject:
    """Wait until a delivery has ended and return it with its payload."""
    [delivery] = await _poll(lambda: _load_delivery(client, endpoint, delivery_id), has_ended)
    return delivery


async def wait_all_ended(client: httpx.AsyncClient, endpoint: JsonObject, count: int) -> list[JsonObject]:
    """Wait until `count` deliveries have ended and return all, oldest first."""
    return await _poll(lambda: _list_oldest_first(client, endpoint), has_ended, count)


async def wait_all_attempted(
    client: httpx.AsyncClient, endpoint: JsonObject, count: int = 1
) -> list[JsonObject]:
    """Wait until `count` deliveries have an attempt with a result and return all."""
    return await _poll(lambda: _list_oldest_first(client, endpoint), was_attempted, count)


def has_ended(delivery: JsonObject) -> bool:
    return delivery["ended_at"] is not None


def was_attempted(delivery: JsonObject) -> bool:
    return any(attempt["seconds"] is not None for attempt in delivery["attempts"])


async def deliveries(client: httpx.AsyncClient, endpoint: JsonObject, **query: Any) -> JsonObject:
    """Return a page of the endpoint's deliveries."""
    response = await client.get(path(endpoint, "deliveries"), params=query)
    assert response.status_code == 200, response.text
    return _decode(response)


def path(endpoint: JsonObject, rest: str = "") -> str:
    return f"/api/webhooks/{endpoint['id']}" + (f"/{rest}" if rest else "")


async def _poll(
    load: Callable[[], Awaitable[list[JsonObject]]], is_done: Callable[[JsonObject], bool], count: int = 1
) -> list[JsonObject]:
    """Load until `count` items are done; nothing signals that."""
    async with asyncio.timeout(WITHIN_SECONDS):
        items = await load()
        while sum(map(is_done, items)) < count:
            await asyncio.sleep(0.01)
            items = await load()
    return items


async def _load_delivery(
    client: httpx.AsyncClient, endpoint: JsonObject, delivery_id: str
) -> list[JsonObject]:
    return [_decode(await client.get(path(endpoint, f"deliveries/{delivery_id}")))]


async def _list_oldest_first(client: httpx.AsyncClient, endpoint: JsonObject) -> list[JsonObject]:
    page: list[JsonObject] = (await deliveries(client, endpoint))["deliveries"]
    return page[::-1]


def _decode(response: httpx.Response) -> JsonObject:
    body: JsonObject = response.json()
    return body
