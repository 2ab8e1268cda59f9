"""Check that the service answers everybody: readers who left must not cost it anything for good."""

import asyncio

import httpx

from tests.faults.cluster.cluster import Cluster

SIDE_BY_SIDE = 24
"""Requests at a time, each of which takes a connection to the database: more than a pool has."""
PATIENCE_SECONDS = 10.0
PATHS = ("/api/exports?limit=1", "/healthz", "/readyz")


async def find_unanswered(cluster: Cluster, bearer: str) -> list[str]:
    """Return a sentence for each request that a replica does not answer as it should."""
    requests = [
        _request(cluster, replica.port, path, bearer)
        for replica in cluster.replicas
        for path in (PATHS[0],) * SIDE_BY_SIDE + PATHS[1:]
    ]
    failures = [failure for failure in await asyncio.gather(*requests) if failure is not None]
    if cluster.postgres is not None:
        failures += await cluster.postgres.find_stuck()
    return failures


async def _request(cluster: Cluster, port: int, path: str, bearer: str) -> str | None:
    headers = {"Authorization": f"Bearer {bearer}"}
    try:
        response = await cluster.http.get(
            f"http://127.0.0.1:{port}{path}", headers=headers, timeout=PATIENCE_SECONDS
        )
    except httpx.HTTPError as error:
        return f"{path} on port {port}: {type(error).__name__}"
    return (
        None
        if response.status_code == 200
        else f"{path} on port {port}: {response.status_code} {response.text[:200]}"
    )
