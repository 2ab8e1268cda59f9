"""What a consumer does over the API, and the few words that tests say of it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

Shown = dict[str, Any]
WITHIN_SECONDS = 10


async def created(client: httpx.AsyncClient, url: str, **asked: Any) -> Shown:
    """A new endpoint, with its secret; `headers` go with the request."""
    headers = asked.pop("headers", None)
    answer = await client.post("/api/webhooks", json={"url": url, **asked}, headers=headers)
    assert answer.status_code == 201, answer.text
    return _shown(answer)


async def patched(client: httpx.AsyncClient, endpoint: Shown, **changes: Any) -> Shown:
    answer = await client.patch(path(endpoint), json=changes)
    assert answer.status_code == 200, answer.text
    return _shown(answer)


async def rotated(client: httpx.AsyncClient, endpoint: Shown) -> Shown:
    answer = await client.post(path(endpoint, "rotate"))
    assert answer.status_code == 200, answer.text
    return _shown(answer)


async def checked(client: httpx.AsyncClient, endpoint: Shown) -> Shown:
    """The delivery of a test event, when it has ended."""
    answer = await client.post(path(endpoint, "test"))
    assert answer.status_code == 202, answer.text
    return await settled(client, endpoint, answer.json()["delivery_id"])


async def settled(client: httpx.AsyncClient, endpoint: Shown, delivery_id: str) -> Shown:
    """A delivery, whole, as soon as it has ended."""
    [found] = await _once(lambda: _whole(client, endpoint, delivery_id), has_ended)
    return found


async def all_settled(client: httpx.AsyncClient, endpoint: Shown, count: int) -> list[Shown]:
    """The endpoint's deliveries, oldest first, as soon as `count` have ended."""
    return await _once(lambda: _listed(client, endpoint), has_ended, count)


async def all_tried(client: httpx.AsyncClient, endpoint: Shown, count: int = 1) -> list[Shown]:
    """The same, as soon as something came of an attempt at `count` of them."""
    return await _once(lambda: _listed(client, endpoint), was_tried, count)


def has_ended(delivery: Shown) -> bool:
    return delivery["ended_at"] is not None


def was_tried(delivery: Shown) -> bool:
    return any(attempt["seconds"] is not None for attempt in delivery["attempts"])


async def deliveries(client: httpx.AsyncClient, endpoint: Shown, **query: Any) -> Shown:
    """A page of what was sent to the endpoint."""
    answer = await client.get(path(endpoint, "deliveries"), params=query)
    assert answer.status_code == 200, answer.text
    return _shown(answer)


def path(endpoint: Shown, rest: str = "") -> str:
    return f"/api/webhooks/{endpoint['id']}" + (f"/{rest}" if rest else "")


async def _once(
    ask: Callable[[], Awaitable[list[Shown]]], holds: Callable[[Shown], bool], count: int = 1
) -> list[Shown]:
    """Ask until it holds of so many: nobody tells when that comes true."""
    async with asyncio.timeout(WITHIN_SECONDS):
        found = await ask()
        while sum(holds(one) for one in found) < count:
            await asyncio.sleep(0.01)
            found = await ask()
    return found


async def _whole(client: httpx.AsyncClient, endpoint: Shown, delivery_id: str) -> list[Shown]:
    return [_shown(await client.get(path(endpoint, f"deliveries/{delivery_id}")))]


async def _listed(client: httpx.AsyncClient, endpoint: Shown) -> list[Shown]:
    page: list[Shown] = (await deliveries(client, endpoint))["deliveries"]
    return page[::-1]


def _shown(answer: httpx.Response) -> Shown:
    found: Shown = answer.json()
    return found
