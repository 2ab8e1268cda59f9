"""The effects of a result on its delivery, its endpoint and the attempt log."""

import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

import httpx
import pytest
import respx

from infra.database.sqlite import SqliteDatabase
from infra.egress import BlockedURL, Unreachable
from service.webhooks import endpoint_status, endpoints
from service.webhooks.models import DisabledReason
from tests.service.webhooks.webhook_harness import BEGIN, URL, WebhookHarness, open_harness
from tests.support.job_factory import Row

FIRST_DELAY = (4.5, 5.5)
"""Bounds of the first delay of the schedule, with its jitter."""
HOUR = 3_600.0
DAY = 24 * HOUR


@dataclass
class Consumer:
    """A harness and the only consumer of its webhooks."""

    harness: WebhookHarness
    router: respx.MockRouter
    route: respx.Route


@pytest.fixture
async def consumer(database: SqliteDatabase) -> AsyncIterator[Consumer]:
    router = respx.MockRouter(assert_all_called=False)
    transport = httpx.MockTransport(router.async_handler)
    async with open_harness(database, transport=transport) as harness:
        await harness.create_endpoint()
        await harness.complete_export()
        yield Consumer(harness, router, router.post(URL))


def http_date(seconds: float) -> str:
    """Return an HTTP date so many seconds after BEGIN."""
    return format_datetime(datetime.fromtimestamp(BEGIN + seconds, UTC), usegmt=True)


def delay(row: Row) -> float:
    """Return the seconds until the next attempt."""
    return float(str(row["next_at"])) - BEGIN


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_any_2xx_is_a_delivery(consumer: Consumer, status: int) -> None:
    consumer.route.respond(status, text="thanks")
    await consumer.harness.deliver_all()
    (row,), (attempt,) = await consumer.harness.load_deliveries(), await consumer.harness.load_attempts()
    assert (row["state"], row["ended_at"], row["lease_until"]) == ("delivered", BEGIN, None)
    assert (attempt["status"], attempt["error_code"], attempt["excerpt"]) == (status, None, "thanks")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (301, "redirect"),
        (302, "redirect"),
        (304, "redirect"),
        (307, "redirect"),
        (400, "status"),
        (401, "status"),
        (404, "status"),
        (429, "status"),
        (500, "status"),
        (503, "status"),
    ],
)
async def test_any_other_answer_is_a_failure_and_tried_again(
    consumer: Consumer, status: int, code: str
) -> None:
    elsewhere = consumer.router.route(host="elsewhere.example")
    consumer.route.respond(status, headers={"location": "https://elsewhere.example/"})
    await consumer.harness.deliver_all()
    (row,), (attempt,) = await consumer.harness.load_deliveries(), await consumer.harness.load_attempts()
    assert (row["state"], row["tries"], row["ended_at"], row["lease_until"]) == ("pending", 1, None, BEGIN)
    assert FIRST_DELAY[0] <= delay(row) <= FIRST_DELAY[1]
    assert (attempt["status"], attempt["error_code"]) == (status, code)
    assert str(status) in str(attempt["error_message"])
    assert not elsewhere.called


@pytest.mark.parametrize(
    ("status", "header", "expected"),
    [
        pytest.param(429, "3600", (HOUR, HOUR), id="seconds"),
        pytest.param(503, http_date(2 * HOUR), (2 * HOUR, 2 * HOUR), id="date"),
        pytest.param(503, "1", FIRST_DELAY, id="shorter than the schedule"),
        pytest.param(503, http_date(-HOUR), FIRST_DELAY, id="a date that is past"),
        pytest.param(429, "soon", FIRST_DELAY, id="garbage"),
        pytest.param(429, "-5", FIRST_DELAY, id="negative"),
        pytest.param(429, "1e9", FIRST_DELAY, id="no integer"),
        pytest.param(429, "9" * 60, (DAY, DAY), id="absurd"),
        pytest.param(429, "9" * 90, FIRST_DELAY, id="absurd, and too long to read"),
        pytest.param(503, http_date(365 * DAY), (DAY, DAY), id="a date next year"),
        pytest.param(500, "3600", FIRST_DELAY, id="of a status that does not ask"),
        pytest.param(302, "3600", FIRST_DELAY, id="of a redirect"),
    ],
)
async def test_429_and_503_may_lengthen_the_delay_but_not_shorten_it(
    consumer: Consumer, status: int, header: str, expected: tuple[float, float]
) -> None:
    consumer.route.respond(status, headers={"retry-after": header})
    await consumer.harness.deliver_all()
    (row,) = await consumer.harness.load_deliveries()
    assert expected[0] <= delay(row) <= expected[1]


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        pytest.param(httpx.ReadTimeout("late"), "timeout", id="no answer in time"),
        pytest.param(httpx.ConnectTimeout("late"), "timeout", id="no connection in time"),
        pytest.param(httpx.ReadError("reset"), "closed", id="reset"),
        pytest.param(httpx.RemoteProtocolError("broken"), "protocol", id="no HTTP"),
        pytest.param(ssl.SSLError("alert"), "tls", id="TLS after the handshake"),
        pytest.param(Unreachable("tls", "The certificate is not valid."), "tls", id="TLS"),
        pytest.param(Unreachable("dns", "It has no address."), "dns", id="DNS"),
        pytest.param(Unreachable("connect", "It refused the connection."), "connect", id="refused"),
        pytest.param(BlockedURL("It resolves to a private address."), "forbidden", id="forbidden at connect"),
        pytest.param(RuntimeError("a mistake of ours"), "internal_error", id="our own mistake"),
    ],
)
async def test_no_answer_is_a_failure_that_the_log_explains(
    consumer: Consumer, failure: Exception, code: str
) -> None:
    consumer.route.side_effect = failure
    await consumer.harness.deliver_all()
    (row,), (attempt,) = await consumer.harness.load_deliveries(), await consumer.harness.load_attempts()
    assert (row["state"], row["tries"]) == ("pending", 1)
    assert (attempt["status"], attempt["error_code"]) == (None, code)
    assert str(attempt["error_message"]).endswith(".")
    assert attempt["seconds"] is not None


async def test_a_local_fault_counts_neither_as_a_try_nor_against_the_endpoint(
    consumer: Consumer,
) -> None:
    consumer.route.mock(side_effect=Unreachable("local", "This service can open no more connections."))
    await consumer.harness.deliver_all()
    (row,), (endpoint,) = await consumer.harness.load_deliveries(), await consumer.harness.load_endpoints()
    assert (row["state"], row["tries"], delay(row)) == ("pending", 0, 10.0)
    assert endpoint["failing_since"] is None
    consumer.route.respond(204)
    consumer.harness.clock.advance(10)
    await consumer.harness.deliver_all()
    assert [row["state"] for row in await consumer.harness.load_deliveries()] == ["delivered"]


async def test_410_disables_the_endpoint_and_notifies_its_owner(consumer: Consumer) -> None:
    await consumer.harness.complete_export("job-2")
    consumer.route.mock(side_effect=[httpx.Response(410), httpx.Response(204), httpx.Response(204)])
    await consumer.harness.deliver_all()
    (endpoint,) = await consumer.harness.load_endpoints()
    assert (endpoint["enabled"], endpoint["disabled_reason"], endpoint["disabled_at"]) == (
        False,
        DisabledReason.GONE,
        BEGIN,
    )
    assert [notified.endpoint_id for notified in consumer.harness.disabled] == [endpoint["endpoint_id"]]
    assert {row["state"] for row in await consumer.harness.load_deliveries()} == {"failed"}
    assert consumer.route.call_count == 1
    await consumer.harness.complete_export("job-3")
    assert len(await consumer.harness.load_deliveries()) == 2


async def test_of_a_response_16_kib_are_stored(consumer: Consumer) -> None:
    consumer.route.respond(200, text="é" * 20_000)
    await consumer.harness.deliver_all()
    (attempt,) = await consumer.harness.load_attempts()
    assert attempt["excerpt"] == "é" * 8_192


async def test_characters_that_no_database_stores_are_left_out_of_the_log(consumer: Consumer) -> None:
    consumer.route.respond(500, content=b"\x00before\xffafter\x00")
    await consumer.harness.deliver_all()
    (attempt,) = await consumer.harness.load_attempts()
    assert attempt["excerpt"] == "before\ufffdafter"


async def test_a_success_that_comes_after_the_endpoint_was_disabled_counts(consumer: Consumer) -> None:
    harness = consumer.harness
    (endpoint,) = await harness.load_endpoints()

    async def disable_during(_: httpx.Request) -> httpx.Response:
        async with harness.database.transaction() as session:
            await endpoint_status.disable(
                session, str(endpoint["endpoint_id"]), DisabledReason.BY_USER, now=BEGIN
            )
        return httpx.Response(204)

    consumer.route.side_effect = disable_during
    await harness.deliver_all()
    (row,) = await harness.load_deliveries()
    assert (row["state"], row["lease_until"]) == ("delivered", None)
    assert harness.disabled == []


async def test_a_failure_that_comes_after_the_endpoint_was_disabled_changes_only_the_log(
    consumer: Consumer,
) -> None:
    harness = consumer.harness
    (endpoint,) = await harness.load_endpoints()

    async def disable_during(_: httpx.Request) -> httpx.Response:
        async with harness.database.transaction() as session:
            await endpoint_status.disable(
                session, str(endpoint["endpoint_id"]), DisabledReason.BY_USER, now=BEGIN
            )
        return httpx.Response(500)

    consumer.route.side_effect = disable_during
    await harness.deliver_all()
    (row,), (attempt,) = await harness.load_deliveries(), await harness.load_attempts()
    assert (row["state"], row["tries"], row["lease_until"]) == ("failed", 0, None)
    assert attempt["status"] == 500
    assert (await harness.load_endpoints())[0]["failing_since"] is None


async def test_an_endpoint_that_is_removed_during_an_attempt_leaves_nothing_to_send(
    consumer: Consumer,
) -> None:
    harness = consumer.harness
    (endpoint,) = await harness.load_endpoints()

    async def remove_during(_: httpx.Request) -> httpx.Response:
        async with harness.database.transaction() as session:
            await endpoints.remove(session, "ada", str(endpoint["endpoint_id"]))
            await endpoints.delete_deliveries(session, str(endpoint["endpoint_id"]))
        return httpx.Response(500)

    consumer.route.side_effect = remove_during
    await harness.deliver_all()
    assert await harness.load_deliveries() == []
    assert [row["status"] for row in await harness.load_attempts()] == [500]
