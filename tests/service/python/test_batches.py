"""Many exports at once through the clients: batches, and cancel and retry by filter."""

import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from framehook import Batch, ChangedExports, Gone, Invalid, QuotaExceeded, Unreachable
from tests.service.python.any_client import AnyClient, ClientFactory
from tests.support.live_server import FRAMING, PROBLEM, LiveServer, ScriptedResponse, serve_script

LATER = datetime.now(UTC) + timedelta(days=20)


async def list_requests(client: AnyClient, count: int, **options: object) -> list[dict[str, object]]:
    """Upload a few bytes and return requests for exports of them."""
    key = await client.call("upload", io.BytesIO(b"video"), filename="match.mp4")
    config = {**FRAMING, "input_key": key}
    return [{"type": "framing", "config": config, "not_before": LATER, **options} for _ in range(count)]


def batch_state(progress: float, **counts: int) -> ScriptedResponse:
    """Return the answer to a request for a batch."""
    batch = {
        "batch_id": "batch_1",
        "name": None,
        "metadata": {},
        "total": 3,
        "counts": counts,
        "progress": progress,
        "cost_usd": None,
        "created_at": "2026-01-01T00:00:00Z",
        "completed_at": None,
    }
    return ScriptedResponse(body=json.dumps(batch).encode())


def build_change(matched: int, cursor: str | None = None) -> ScriptedResponse:
    answer = {"matched": matched, "changed": matched - 1, "next_cursor": cursor}
    return ScriptedResponse(body=json.dumps(answer).encode())


async def test_a_batch_is_created_watched_cancelled_and_erased(
    clients: ClientFactory, server: LiveServer
) -> None:
    client = clients.open(server.url)
    requests = await list_requests(client, 3, name=None, project_id=7)
    options: dict[str, Any] = {"name": "night", "metadata": {"order": 7}, "idempotency_key": "night-1"}
    batch: Batch = await client.call("batches.create", requests, **options)
    again: Batch = await client.call("batches.create", requests, **options)
    assert (again, batch.name, batch.metadata) == (batch, "night", {"order": 7})
    assert (batch.total, batch.counts, batch.is_final) == (3, {"pending": 3}, False)
    other: Batch = await client.call("batches.create", requests[:1])
    assert [item.batch_id for item in await client.list_items("batches.list")] == [
        other.batch_id,
        batch.batch_id,
    ]
    listed = await client.list_items("list", batch_id=batch.batch_id)
    assert {export.job_id for export in listed} == {export.job_id for export in batch.exports}
    with pytest.raises(TimeoutError):
        await client.call("batches.wait", batch, timeout_seconds=0.0)
    cancelled: Batch = await client.call("batches.cancel", batch)
    assert (cancelled.counts, cancelled.is_final) == ({"cancelled": 3}, True)
    assert await client.list_items("batches.watch", batch.batch_id) == [cancelled]
    states: list[Batch] = []
    assert await client.call("batches.wait", cancelled, on_state=states.append) == cancelled
    assert states == [await client.call("batches.get", batch)] == [cancelled]
    for _ in range(2):
        await client.call("batches.purge", batch)
    with pytest.raises(Gone):
        await client.call("batches.get", batch)
    assert len(await client.list_items("list")) == 1


async def test_one_wrong_export_of_a_batch_is_named(clients: ClientFactory, server: LiveServer) -> None:
    client = clients.open(server.url)
    requests = await list_requests(client, 2)
    requests[1] = {**requests[1], "type": "unknown"}
    with pytest.raises(Invalid) as problem:
        await client.call("batches.create", requests)
    assert problem.value.errors[0].name == "exports.1.type"


async def test_exports_are_cancelled_and_retried_by_a_filter_or_by_their_ids(
    clients: ClientFactory, server: LiveServer
) -> None:
    client = clients.open(server.url)
    for project_id, tag in ((7, 5), (7, 6), (8, 5)):
        body = await list_requests(client, 1, project_id=project_id, metadata={"n": tag})
        await client.call("batches.create", body)
    second, third = [export async for export in client.items("list")][1::-1]
    assert await client.call("cancel_all", project_id=7, metadata={"n": 5.0}) == ChangedExports(1, 1)
    assert await client.call("cancel_all", status="pending", created_before=third.created_at) == (
        ChangedExports(1, 1)
    )
    assert await client.call("retry_all", [second], project_id=None) == ChangedExports(1, 1)
    assert await client.call("cancel_all", [second, third.job_id, "unknown"]) == ChangedExports(2, 2)
    assert await client.call("retry_all", status=["cancelled"], type="framing") == ChangedExports(3, 3)
    empty: tuple[list[str] | None, ...] = (None, [])
    for exports in empty:  # neither means all
        with pytest.raises(Invalid):
            await client.call("cancel_all", exports)
    assert {export.status for export in await client.list_items("list")} == {"pending"}


async def test_a_change_of_many_goes_on_until_the_service_has_seen_all(clients: ClientFactory) -> None:
    full = ScriptedResponse(429, {**PROBLEM, "Retry-After": "1"}, b'{"detail": "Too many.", "type": "x"}')
    with serve_script(build_change(100, "c-1"), build_change(40)) as script:
        client = clients.open(script.url)
        assert await client.call("cancel_all", status="pending") == ChangedExports(140, 138)
    bodies = [json.loads(request.body) for request in script.requests]
    assert bodies == [{"status": ["pending"]}, {"status": ["pending"], "cursor": "c-1"}]
    with serve_script(build_change(100, "c-1"), full) as script, pytest.raises(QuotaExceeded) as problem:
        await clients.open(script.url).call("retry_all", status="error")
    assert problem.value.__notes__ == ["  99 exports were changed before"]
    with serve_script(ScriptedResponse(None)) as script, pytest.raises(Unreachable):
        await clients.open(script.url).call("retry_all", status="error")
    assert len(script.requests) == 1


async def test_a_watch_of_a_batch_yields_changes_and_survives_a_restart(clients: ClientFactory) -> None:
    down = ScriptedResponse(503, {**PROBLEM, "Retry-After": "7"}, b'{"detail": "Starting.", "type": "x"}')
    reasons: list[str] = []
    with serve_script(
        batch_state(10.0, pending=1, processing=2),
        ScriptedResponse(None),
        down,
        batch_state(10.0, pending=1, processing=2),
        batch_state(50.0, processing=2, complete=1),
        batch_state(100.0, complete=2, error=1),
    ) as script:
        watching = clients.open(script.url).items("batches.watch", "batch_1", on_disconnect=reasons.append)
        seen = [batch.progress async for batch in watching]
    assert seen == [10.0, 50.0, 100.0]
    assert (len(reasons), reasons[1]) == (2, "Starting.")
    assert [seconds for seconds in clients.slept if seconds in (2.0, 7.0)] == [2.0, 7.0, 2.0, 2.0]
