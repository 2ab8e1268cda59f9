"""Submit many exports over HTTP."""

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx

CONNECTIONS = 16


async def submit_exports(url: str, body: Mapping[str, Any], count: int) -> None:
    """Submit the same export so many times, over CONNECTIONS at a time."""
    slots = asyncio.Semaphore(CONNECTIONS)
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as http:

        async def submit_one() -> None:
            async with slots:
                (await http.post("/api/exports", json=body)).raise_for_status()

        await asyncio.gather(*(submit_one() for _ in range(count)))
