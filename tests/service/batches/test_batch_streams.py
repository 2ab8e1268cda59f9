"""`batch.completed` on streams: once, after the last end, on every replica, and as filters say."""

from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from service.jobs.batches.models import ExportBatch
from service.jobs.filters import ExportFilter
from service.jobs.models import Status
from service.settings import Settings
from tests.conftest import delete_all_rows
from tests.support.app_harness import FRAMING, SOURCE
from tests.support.stream_server import Event, Events, Road, StreamServer, open_server

LATER = (datetime.now(UTC) + timedelta(days=20)).isoformat()
EVENTS = "/api/exports/events"


async def submit(server: StreamServer, count: int) -> dict[str, Any]:
    await server.post_export()  # stores the source
    body = {"type": "framing", "config": {"input_key": SOURCE, **FRAMING}, "not_before": LATER}
    content = {"name": "line \u2028 end", "metadata": {"order": 7}, "exports": [body] * count}
    response = await server.client.post("/api/batches", json=content)
    assert response.status_code == 202, response.text
    batch: dict[str, Any] = response.json()
    return batch


async def read_until(events: Events, job_id: str) -> list[Event]:
    """Read up to the end of an export that was submitted after everything else."""
    read: list[Event] = []
    while not read or read[-1].job.get("job_id") != job_id or read[-1].type != "export.cancelled":
        event = await events.next()
        assert event is not None
        read.append(event)
    return read


async def cancel_another(server: StreamServer) -> str:
    """Submit and cancel an export, whose end is the last event."""
    await server.post_export(export_id="the-last-one")
    job_id = (await server.client.delete("/api/exports/the-last-one")).json()["job_id"]
    return str(job_id)


async def test_a_stream_gets_the_end_of_a_batch_once_and_last(
    settings: Settings, stack: AsyncExitStack, road: Road
) -> None:
    server = await stack.enter_async_context(open_server(settings, road=road))
    batch = await submit(server, 2)
    ids = sorted(export["job_id"] for export in batch["exports"])
    async with server.events(EVENTS) as events:
        await events.snapshot()
        for job_id in ids:
            await server.client.delete(f"/api/exports/{job_id}")
        await server.client.post(f"/api/exports/{job_id}/retry")
        await server.client.delete(f"/api/exports/{job_id}")
        read = await read_until(events, await cancel_another(server))
    types = [it.type for it in read if it.job.get("job_id") in ids or it.type == "batch.completed"]
    assert types[:3] == [*["export.cancelled"] * 2, "batch.completed"]
    assert types.count("export.cancelled") == 3  # the retry ended, too
    (completed,) = [event.job for event in read if event.type == "batch.completed"]
    assert completed == (await server.client.get(f"/api/batches/{batch['batch_id']}")).json()
    assert (completed["name"], completed["counts"]) == ("line \u2028 end", {"cancelled": 2})


@pytest.mark.parametrize(
    ("conditions", "shown"),
    [
        pytest.param(ExportFilter(), True, id="no filter"),
        pytest.param(ExportFilter(batch_id="batch_1"), True, id="this batch"),
        pytest.param(ExportFilter(batch_id="batch_2"), False, id="another batch"),
        pytest.param(ExportFilter(metadata=(("order", "7"),)), True, id="its metadata"),
        pytest.param(ExportFilter(metadata=(("order", "8"),)), False, id="other metadata"),
        pytest.param(ExportFilter(created_after=2.0), False, id="later ones"),
        pytest.param(ExportFilter(frozenset({Status.COMPLETE})), False, id="a status, which it has not"),
        pytest.param(ExportFilter(project_id="1"), False, id="a project, which it has not"),
    ],
)
def test_a_filter_shows_the_batches_that_meet_it(conditions: ExportFilter, shown: bool) -> None:
    batch = ExportBatch(batch_id="batch_1", user_id="ada", metadata='{"order":7}', exports=1, created_at=1.0)
    assert conditions.matches_batch(batch) is shown


async def test_a_stream_on_another_replica_gets_it_once(
    settings: Settings, postgresql_url: str, stack: AsyncExitStack
) -> None:
    await delete_all_rows(postgresql_url)
    shared = settings.model_copy(update={"database_url": postgresql_url})
    first = await stack.enter_async_context(open_server(shared))
    second = await stack.enter_async_context(open_server(shared))
    batch = await submit(first, 3)
    async with second.events(EVENTS) as events:
        await events.snapshot()
        await first.client.delete(f"/api/batches/{batch['batch_id']}")
        read = await read_until(events, await cancel_another(first))
    completed = [event.job for event in read if event.type == "batch.completed"]
    assert [it["batch_id"] for it in completed] == [batch["batch_id"]]
    assert completed[0]["counts"] == {"cancelled": 3}
