"""The calls of a consumer for its endpoint."""

import asyncio
import itertools
import time
from collections.abc import Sequence
from typing import Any

from tests.faults.checkers.violations import RequestUnanswered
from tests.faults.workload.user import PATIENCE_SECONDS, PAUSE_SECONDS, User


async def create_endpoint(user: User, url: str, events: Sequence[str]) -> dict[str, Any]:
    """Register an endpoint; a lost response leaves another one behind, with another URL."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    for number in itertools.count():
        body = {"url": f"{url}?{number}", "events": list(events)}
        response = await user.try_request("POST", "/api/webhooks", json=body)
        if response is not None and response.status_code == 201:
            endpoint: dict[str, Any] = response.json()
            return endpoint
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(PAUSE_SECONDS)
    raise RequestUnanswered(f"no endpoint was registered within {PATIENCE_SECONDS} s: {response}")


async def recover(user: User, endpoint_id: str, since: str) -> None:
    """Ask for outcomes that the endpoint has not accepted."""
    await user.try_request("POST", f"/api/webhooks/{endpoint_id}/recover", json={"since": since})


async def redeliver(user: User, endpoint_id: str, delivery_id: str) -> None:
    """Ask for one delivery again."""
    await user.try_request("POST", f"/api/webhooks/{endpoint_id}/deliveries/{delivery_id}/redeliver")
