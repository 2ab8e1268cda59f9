"""An outage of the database, as requests, streams and the listener see it."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

import httpx
import pytest
from sqlalchemy import text

from infra.database.base import ChangedRow
from infra.database.postgresql import PostgresDatabase
from tests.faults.cluster.cluster import Cluster, open_cluster
from tests.faults.cluster.postgres import Postgres

JOB = "01a20ab5-c154-746a-a04c-79f98868b245"


@pytest.fixture(scope="module")
async def cluster() -> AsyncIterator[Cluster]:
    async with open_cluster(postgresql=True) as cluster:
        yield cluster


async def get(cluster: Cluster, path: str, bearer: str, **headers: str) -> httpx.Response:
    url = f"http://127.0.0.1:{cluster.replicas[0].port}{path}"
    return await cluster.http.get(url, headers={"Authorization": f"Bearer {bearer}", **headers})


def postgres_of(cluster: Cluster) -> Postgres:
    assert cluster.postgres is not None
    return cluster.postgres


async def test_a_request_is_asked_to_come_again(cluster: Cluster) -> None:
    bearer = cluster.add_user("ada")
    await postgres_of(cluster).stop(crash=False)
    try:
        listed = await get(cluster, "/api/exports/active", bearer)
        streamed = await get(cluster, f"/api/exports/{JOB}/events", bearer)
    finally:
        await postgres_of(cluster).start()
    assert (listed.status_code, listed.headers["retry-after"]) == (503, "2")
    assert listed.json()["type"] == "urn:framehook:problem:unavailable"
    # An EventSource never reconnects after a 503, but it does after this answer.
    assert (streamed.status_code, "retry: 2000" in streamed.text) == (200, True)
    await cluster.wait_ready()
    assert (await get(cluster, "/api/exports/active", bearer)).status_code == 200


async def test_a_lost_line_is_noticed_at_once(cluster: Cluster) -> None:
    database = PostgresDatabase(postgres_of(cluster).url)
    listening = asyncio.Event()

    async def on_ready() -> None:
        listening.set()

    async def on_change(_changed: Sequence[ChangedRow]) -> None:
        return

    listener = asyncio.create_task(database.listen(on_ready, on_change))
    await asyncio.wait_for(listening.wait(), 10)
    begun = time.monotonic()
    await postgres_of(cluster).cut_notification_channels()
    await asyncio.wait_for(listener, 9)  # less than the interval of its own checks
    assert time.monotonic() - begun < 5
    await database.close()


async def test_no_process_keeps_locks_while_it_stands_still(cluster: Cluster) -> None:
    database = PostgresDatabase(postgres_of(cluster).url)
    async with database.reading() as session:
        bound = (await session.execute(text("SHOW idle_in_transaction_session_timeout"))).scalar_one()
    await database.close()
    assert bound == "10s"
