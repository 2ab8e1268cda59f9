"""Whether the service answers everybody: readers who left, and whatever else broke, have cost it nothing for good."""

import asyncio

import httpx

from tests.faults.cluster.cluster import World

SIDE_BY_SIDE = 24
"""Requests at a time, each of which takes a connection to the database: more than a pool has."""
PATIENCE_SECONDS = 10.0
PATHS = ("/api/exports?limit=1", "/healthz", "/readyz")


async def unanswered(world: World, bearer: str) -> list[str]:
    """Return what each replica does not answer as it should, as sentences."""
    asked = [
        _ask(world, replica.port, path, bearer)
        for replica in world.replicas
        for path in (PATHS[0],) * SIDE_BY_SIDE + PATHS[1:]
    ]
    failures = [failure for failure in await asyncio.gather(*asked) if failure is not None]
    if world.postgres is not None:
        failures += await world.postgres.stuck()
    return failures


async def _ask(world: World, port: int, path: str, bearer: str) -> str | None:
    headers = {"Authorization": f"Bearer {bearer}"}
    try:
        answer = await world.http.get(
            f"http://127.0.0.1:{port}{path}", headers=headers, timeout=PATIENCE_SECONDS
        )
    except httpx.HTTPError as error:
        return f"{path} on port {port}: {type(error).__name__}"
    return (
        None
        if answer.status_code == 200
        else f"{path} on port {port}: {answer.status_code} {answer.text[:200]}"
    )
