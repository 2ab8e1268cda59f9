"""One POST: the request, the response, and the limits that hostile receivers meet."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from ssl import PROTOCOL_TLS_CLIENT, SSLContext

import httpx
import pytest
import respx

from infra.egress import BlockedURL, EgressClient, EgressPolicy, EgressResponse, Unreachable
from infra.egress.client import TOTAL_SECONDS
from tests.bench.webhooks.hostile_receivers import Conduct, read_and_hang, receive_with, request
from tests.infra.egress import hostile_receivers
from tests.infra.egress.hostile_receivers import HTTP_200, LOOPBACK, FakeResolver, respond_raw

SECONDS = 1.5
UNUSED = SSLContext(PROTOCOL_TLS_CLIENT)  # reading the usual certificates takes longer than a call
BODY = b'{"type": "export.completed"}'


@pytest.fixture
async def egress() -> AsyncIterator[EgressClient]:
    client = EgressClient(LOOPBACK, lookup=FakeResolver({"good.test": [["127.0.0.1"]]}), ssl_context=UNUSED)
    yield client
    await client.close()


@pytest.fixture
def hasty_client() -> EgressClient:
    """Build a client with a short deadline."""
    return EgressClient(LOOPBACK, total_seconds=SECONDS, ssl_context=UNUSED)


async def post(egress: EgressClient, port: int, host: str = "127.0.0.1") -> EgressResponse:
    return await egress.post(f"http://{host}:{port}/hook?x=1", body=BODY, headers={"webhook-id": "msg_1"})


async def test_a_request_carries_the_body_the_headers_and_nothing_else(egress: EgressClient) -> None:
    requests: list[tuple[bytes, bytes]] = []

    async def conduct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await request(reader))
        writer.write(HTTP_200 + b"Set-Cookie: a=b\r\nContent-Length: 2\r\n\r\nok")

    async with receive_with(conduct) as port:
        for _ in range(2):
            response = await egress.post(
                f"http://good.test:{port}/hook?x=1",
                body=BODY,
                headers={"Webhook-Id": "msg_1", "host": "elsewhere.test", "accept-encoding": "gzip"},
            )
    assert (response.status, response.excerpt, response.retry_after) == (200, "ok", None)
    assert 0 < response.seconds < TOTAL_SECONDS
    head, body = requests[1]
    assert body == BODY
    assert sorted(head.decode().strip().split("\r\n")) == sorted(
        [
            "POST /hook?x=1 HTTP/1.1",
            f"Host: good.test:{port}",
            "Webhook-Id: msg_1",
            "User-Agent: Framehook",
            "Accept-Encoding: identity",
            "Connection: close",
            f"Content-Length: {len(BODY)}",
        ]
    )


@pytest.mark.parametrize(
    ("conduct", "status", "excerpt", "retry_after"),
    [
        pytest.param(hostile_receivers.redirect, 302, "", None, id="a redirect to loopback is an answer"),
        pytest.param(hostile_receivers.ten_gigabytes, 200, "z" * 16_384, None, id="ten gigabytes"),
        pytest.param(
            hostile_receivers.enough_and_hang, 200, "z" * 16_384, None, id="enough, and then nothing"
        ),
        pytest.param(hostile_receivers.endless_body, 200, "z" * 16_384, None, id="a body without end"),
        pytest.param(
            hostile_receivers.bomb,
            200,
            "(compressed, although identity was requested)",
            None,
            id="a gzip bomb",
        ),
        pytest.param(
            respond_raw(b"HTTP/1.1 503 No\r\nRetry-After: 120\r\n\r\nbusy"),
            503,
            "busy",
            "120",
            id="retry after",
        ),
        pytest.param(
            respond_raw(b"HTTP/1.1 503 No\r\nRetry-After: " + b"9" * 65 + b"\r\n\r\n"),
            503,
            "",
            None,
            id="an endless retry after",
        ),
        pytest.param(
            respond_raw(HTTP_200 + b"\r\na\x00b\xff\xf0\x9f"),
            200,
            "ab\ufffd\ufffd",
            None,
            id="no text at all",
        ),
        pytest.param(respond_raw(b"HTTP/1.0 204 Empty\r\n\r\n"), 204, "", None, id="no content"),
        pytest.param(
            respond_raw(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 410 Gone\r\n\r\n"),
            410,
            "",
            None,
            id="continue",
        ),
    ],
)
async def test_a_response_has_a_status_and_an_excerpt(
    egress: EgressClient, conduct: Conduct, status: int, excerpt: str, retry_after: str | None
) -> None:
    async with receive_with(conduct) as port:
        response = await post(egress, port)
    assert (response.status, response.excerpt, response.retry_after) == (status, excerpt, retry_after)


async def test_a_body_in_tiny_chunks_is_cut_by_its_bytes_on_the_wire(egress: EgressClient) -> None:
    async with receive_with(hostile_receivers.crumbs) as port:
        response = await post(egress, port)
    assert (response.status, set(response.excerpt)) == (200, {"x"})
    assert len(response.excerpt) < 100


async def test_an_endless_exchange_ends_at_the_deadline(hasty_client: EgressClient) -> None:
    """All run at the same time, since each takes the whole deadline."""
    stages: dict[Conduct, str] = {
        hostile_receivers.hang: "waiting for the response",
        read_and_hang: "waiting for the response",
        hostile_receivers.drip_headers: "waiting for the response",
        hostile_receivers.drip_body: "reading the response body",
    }
    async with AsyncExitStack() as open_receivers:
        ports = [await open_receivers.enter_async_context(receive_with(conduct)) for conduct in stages]
        error = await asyncio.gather(*(post(hasty_client, port) for port in ports), return_exceptions=True)
    assert [(end.code, end.message) for end in error if isinstance(end, Unreachable)] == [
        ("timeout", f"There was no complete response within {SECONDS} s; time ran out while {stage}.")
        for stage in stages.values()
    ]


@pytest.mark.parametrize(
    ("conduct", "code", "message"),
    [
        pytest.param(
            hostile_receivers.endless_headers, "protocol", "longer than 65536", id="headers without end"
        ),
        pytest.param(
            hostile_receivers.endless_header, "protocol", "longer than 65536", id="a header without end"
        ),
        pytest.param(
            hostile_receivers.endless_status, "protocol", "longer than 65536", id="a status without end"
        ),
        pytest.param(
            hostile_receivers.continue_storm, "protocol", "longer than 65536", id="a storm of early hints"
        ),
        pytest.param(hostile_receivers.old_http, "protocol", "is not HTTP", id="HTTP/0.9"),
        pytest.param(hostile_receivers.silence, "protocol", "without a response", id="closes without a word"),
        pytest.param(hostile_receivers.half, "protocol", "is truncated", id="closes in the middle"),
        pytest.param(hostile_receivers.bad_chunk, "protocol", "framing is not valid HTTP", id="bad chunks"),
        pytest.param(hostile_receivers.upgrade, "protocol", "is not HTTP", id="another protocol"),
        pytest.param(
            hostile_receivers.reset, "closed", "reading the response body", id="resets in the middle"
        ),
    ],
)
async def test_an_invalid_response_is_reported_with_its_code(
    egress: EgressClient, conduct: Conduct, code: str, message: str
) -> None:
    async with receive_with(conduct) as port:
        with pytest.raises(Unreachable, match=message) as error:
            await post(egress, port)
    assert error.value.code == code


async def test_no_hostile_receiver_delays_another_or_fills_the_memory() -> None:
    """Good calls among fifty hostile ones end while the hostile ones still wait."""
    egress = EgressClient(LOOPBACK, total_seconds=120, ssl_context=UNUSED)
    lasting = [
        hostile_receivers.hang,
        read_and_hang,
        hostile_receivers.drip_headers,
        hostile_receivers.drip_body,
    ]
    loud = [
        hostile_receivers.ten_gigabytes,
        hostile_receivers.endless_headers,
        hostile_receivers.continue_storm,
        hostile_receivers.bomb,
        hostile_receivers.old_http,
        hostile_receivers.reset,
    ]
    async with AsyncExitStack() as open_receivers:
        ports = [
            await open_receivers.enter_async_context(receive_with(conduct)) for conduct in lasting + loud
        ]
        good = await open_receivers.enter_async_context(receive_with(hostile_receivers.healthy))
        tracemalloc.start()
        waiting = [asyncio.ensure_future(post(egress, port)) for port in ports[: len(lasting)] * 5]
        ending = [asyncio.ensure_future(post(egress, port)) for port in ports[len(lasting) :] * 5]
        responses = [await post(egress, good) for _ in range(20)]
        error = await asyncio.gather(*ending, return_exceptions=True)
        assert not any(call.done() for call in waiting)
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        for call in waiting:
            call.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    assert {response.excerpt for response in responses} == {"fine"}
    assert all(isinstance(end, EgressResponse | Unreachable) for end in error)
    assert peak_bytes < 64 << 20  # most of it is unread data that the receivers wrote


async def test_a_deadline_leaves_no_socket_behind(hasty_client: EgressClient) -> None:
    closed = asyncio.Event()

    async def conduct(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await reader.read()
        closed.set()

    async with receive_with(conduct) as port:
        with pytest.raises(Unreachable):
            await post(hasty_client, port)
        await asyncio.wait_for(closed.wait(), 5)


async def test_a_cancelled_call_hangs_up(egress: EgressClient) -> None:
    arrived, closed = asyncio.Event(), asyncio.Event()

    async def conduct(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await request(reader)
        arrived.set()
        await reader.read()
        closed.set()

    async with receive_with(conduct) as port:
        calling = asyncio.ensure_future(post(egress, port))
        await asyncio.wait_for(arrived.wait(), 5)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        await asyncio.wait_for(closed.wait(), 5)


async def test_a_closed_port_is_unreachable(egress: EgressClient) -> None:
    async with receive_with(hostile_receivers.hang) as port:
        pass
    with pytest.raises(Unreachable, match="refused the connection") as error:
        await post(egress, port)
    assert error.value.code == "connect"


async def test_proxies_and_netrc_of_the_environment_are_not_used(
    egress: EgressClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    requests: list[bytes] = []

    async def conduct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append((await request(reader))[0])
        writer.write(HTTP_200 + b"\r\n")

    async with receive_with(hostile_receivers.silence) as proxy, receive_with(conduct) as port:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy}")
        assert (await post(egress, port)).status == 200
    assert b"uthorization" not in requests[0]


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        pytest.param(httpx.ConnectError("no"), "closed", id="network"),
        pytest.param(httpx.ReadTimeout("no"), "timeout", id="time-out"),
        pytest.param(httpx.RemoteProtocolError("no"), "protocol", id="protocol"),
    ],
)
async def test_another_transport_can_replace_the_sockets(failure: Exception, code: str) -> None:
    router = respx.Router()
    router.post("https://hooks.test/a").mock(side_effect=[httpx.Response(410, text="gone"), failure])
    egress = EgressClient(EgressPolicy(), transport=httpx.MockTransport(router.async_handler))
    response = await egress.post("https://hooks.test/a", body=b"", headers={})
    assert (response.status, response.excerpt) == (410, "gone")
    with pytest.raises(Unreachable) as error:
        await egress.post("https://hooks.test/a", body=b"", headers={})
    assert error.value.code == code
    with pytest.raises(BlockedURL):
        await egress.post("https://10.0.0.1/", body=b"", headers={})
    await egress.close()
