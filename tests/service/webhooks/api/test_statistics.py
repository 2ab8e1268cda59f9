"""The statistics of an endpoint: what its latest attempts were like, and what waits for it."""

from typing import Any

import pytest
from sqlalchemy import insert

from service.webhooks import statistics
from service.webhooks.models import ATTEMPTS
from service.webhooks.statistics import EndpointStatistics, read_statistics
from tests.service.webhooks.api_calls import create_endpoint, path, send_test_event
from tests.service.webhooks.webhook_harness import BEGIN, WebhookHarness
from tests.support.app_harness import AppHarness
from tests.support.live_server import ScriptedResponse, serve_script


def build_attempt(number: int, **fields: Any) -> dict[str, Any]:
    row = {"delivery_id": f"d-{number}", "attempt": 1, "endpoint_id": "ep_1", "at": BEGIN - number}
    return row | {"seconds": 0.1, "status": 204, "error_code": None} | fields


async def read(harness: WebhookHarness, endpoint_id: str = "ep_1") -> EndpointStatistics:
    async with harness.database.reading() as session:
        return await read_statistics(session, endpoint_id, now=harness.clock.now)


async def test_attempts_are_counted_that_have_ended_and_were_sent(harness: WebhookHarness) -> None:
    rows = [
        *(build_attempt(number, seconds=number / 1_000) for number in range(1, 96)),
        *(build_attempt(number, status=500, error_code="status", seconds=2.0) for number in (96, 97, 98)),
        build_attempt(99, status=None, error_code="timeout", seconds=15.0),
        build_attempt(100, status=None, error_code="connect", seconds=0.0),
        build_attempt(200, seconds=None, status=None),  # in flight
        build_attempt(201, seconds=None, status=None, error_code="interrupted"),
        build_attempt(202, status=None, error_code="local"),
        build_attempt(203, status=None, error_code="no_listener", seconds=0.0),
        build_attempt(204, endpoint_id="ep_2", status=500, error_code="status"),
        build_attempt(205, at=BEGIN - statistics.WINDOW_SECONDS - 1, status=500, error_code="status"),
    ]
    async with harness.database.transaction() as session:
        await session.execute(insert(ATTEMPTS), rows)
    figures = await read(harness)
    assert (figures.attempts, figures.delivered, figures.success_rate) == (100, 95, 0.95)
    assert (figures.latency_at(0.5), figures.latency_at(0.99)) == (0.049, 2.0)
    assert (figures.backlog, figures.oldest_at) == (0, None)


async def test_what_waits_is_counted_with_the_oldest_event(harness: WebhookHarness) -> None:
    assert (await read(harness)).success_rate is None
    assert (await read(harness)).latency_at(0.5) is None
    harness.respond_with(500)
    endpoint, other = await harness.create_endpoint(), await harness.create_endpoint("https://b.example/")
    await harness.complete_export("job-1")
    await harness.deliver_all()
    harness.clock.advance(60)
    await harness.add_backlog(endpoint, 3)
    await harness.add_backlog(other, 2)
    figures = await read(harness, endpoint.endpoint_id)
    assert (figures.backlog, figures.oldest_at) == (4, BEGIN)  # one waits for its retry
    assert (figures.attempts, figures.delivered) == (1, 0)


async def test_no_more_rows_are_read_than_the_limits_allow(
    harness: WebhookHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "MAX_ATTEMPTS", 2)
    monkeypatch.setattr(statistics, "MAX_BACKLOG", 3)
    endpoint = await harness.create_endpoint()
    await harness.add_backlog(endpoint, 5)
    rows = [build_attempt(number, endpoint_id=endpoint.endpoint_id, seconds=number) for number in range(5)]
    async with harness.database.transaction() as session:
        await session.execute(insert(ATTEMPTS), rows)
    figures = await read(harness, endpoint.endpoint_id)
    assert (figures.latencies, figures.backlog) == ([0, 1], 3)  # the latest attempts


async def test_the_route_shows_the_figures(app: AppHarness) -> None:
    with serve_script(ScriptedResponse(204)) as receiver:
        endpoint = await create_endpoint(app.client, receiver.url)
        empty = (await app.client.get(path(endpoint, "statistics"))).json()
        await send_test_event(app.client, endpoint)
    figures = (await app.client.get(path(endpoint, "statistics"))).json()
    nothing = dict.fromkeys(
        ("success_rate", "latency_p50_seconds", "latency_p99_seconds", "oldest_waiting_at")
    )
    assert {name: empty[name] for name in nothing} == nothing
    assert (empty["attempts"], empty["backlog"], empty["oldest_waiting_seconds"]) == (0, 0, None)
    assert (figures["attempts"], figures["delivered"], figures["success_rate"]) == (1, 1, 1.0)
    assert 0 < figures["latency_p50_seconds"] == figures["latency_p99_seconds"]
