"""One POST to a stranger: bounded in time and bytes, and only to where it may go."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from ssl import SSLContext, SSLError
from typing import Final

import httpcore
import httpx

from infra.egress.connect import CheckedBackend, ResponseTooLarge
from infra.egress.resolver import AddressResolver, HostLookup, look_up_host
from infra.egress.results import EgressPolicy, EgressResponse, Unreachable
from infra.egress.transport import CheckedTransport
from infra.egress.urls import host_of, parse

TOTAL_SECONDS: Final = 15.0
EXCERPT_BYTES: Final = 16_384
HEAD_BYTES: Final = 65_536
_MAX_RETRY_AFTER: Final = 64
_OURS: Final = {
    "User-Agent": "Framehook",
    "Accept-Encoding": "identity",  # an excerpt is shown as it came, and nothing is ever inflated
    "Connection": "close",
}
_CONNECTING: Final = "connecting"
_BODY: Final = "reading the answer's body"
_STAGES: Final = {  # by the names of httpcore's trace
    "connection.start_tls.started": "shaking hands in TLS",
    "http11.send_request_headers.started": "sending",
    "http11.receive_response_headers.started": "waiting for the answer",
    "http11.receive_response_body.started": _BODY,
}


class EgressClient:
    """Calls URLs that strangers gave. It holds no connection, no cookie and no other state between calls."""

    def __init__(
        self,
        rules: EgressPolicy,
        *,
        resolve: HostLookup = look_up_host,
        total_seconds: float = TOTAL_SECONDS,
        excerpt_bytes: int = EXCERPT_BYTES,
        ssl_context: SSLContext | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._rules = rules
        self._total_seconds = total_seconds
        self._excerpt_bytes = excerpt_bytes
        self._guard = AddressResolver(rules, resolve, seconds=total_seconds / 3)
        self._transport = transport or CheckedTransport(
            CheckedBackend(
                self._guard, connect_seconds=total_seconds / 3, read_bytes=HEAD_BYTES + excerpt_bytes
            ),
            ssl_context or httpx.create_ssl_context(),
        )

    def check_url(self, url: str) -> None:
        """Judge what can be judged without the network; raises BlockedURL."""
        self._parsed(url)

    async def check(self, url: str) -> None:
        """Judge the URL and every address of its host; raises BlockedURL, or Unreachable with `dns`."""
        await self._guard.addresses(host_of(parse(url, self._rules)))

    async def post(self, url: str, *, body: bytes, headers: Mapping[str, str]) -> EgressResponse:
        """Send `body` and return what was answered; raises BlockedURL or Unreachable.

        The host is resolved and judged anew, and an address that was judged is what is connected to.
        """
        stage = _Stage()
        request = httpx.Request(
            "POST",
            self._parsed(url),
            content=body,
            headers=_with_own_headers(headers),
            extensions={"trace": stage.note},
        )
        try:
            async with asyncio.timeout(self._total_seconds):
                return await self._exchange(request)
        except (TimeoutError, httpx.TimeoutException, httpcore.TimeoutException):
            late = f"There was no whole answer in {self._total_seconds:g} s: time ran out while {stage.name}."
            raise Unreachable("timeout", late) from None
        except ResponseTooLarge:
            raise Unreachable(
                "protocol", f"The answer's headers have no end in {HEAD_BYTES} bytes."
            ) from None
        except (httpcore.RemoteProtocolError, httpx.RemoteProtocolError) as error:
            raise Unreachable("protocol", stage.broken) from error
        except SSLError as error:  # some refusals of TLS 1.3 come after the handshake
            raise Unreachable("tls", f"TLS failed while {stage.name}.") from error
        except (httpcore.NetworkError, httpx.NetworkError) as error:
            raise Unreachable("closed", f"The connection was lost while {stage.name}.") from error

    async def close(self) -> None:
        await self._transport.aclose()

    def _parsed(self, url: str) -> httpx.URL:
        parsed = parse(url, self._rules)
        self._guard.check_literal(host_of(parsed))
        return parsed

    async def _exchange(self, request: httpx.Request) -> EgressResponse:
        began = time.monotonic()
        response = await self._transport.handle_async_request(request)
        try:
            body = await self._read_excerpt(response)
        finally:
            await response.aclose()
        retry_after = response.headers.get("retry-after", "")
        return EgressResponse(
            status=response.status_code,
            retry_after=retry_after if 0 < len(retry_after) <= _MAX_RETRY_AFTER else None,
            excerpt=_text(body, response.headers.get("content-encoding", "")),
            seconds=time.monotonic() - began,
        )

    async def _read_excerpt(self, response: httpx.Response) -> bytes:
        """As much of the body as is kept; the rest is never asked for."""
        assert isinstance(response.stream, httpx.AsyncByteStream)
        taken = bytearray()
        chunks = aiter(response.stream)
        try:
            async for chunk in chunks:
                taken += chunk
                if len(taken) >= self._excerpt_bytes:
                    break
        except ResponseTooLarge:  # chunks of a byte, with more framing than content
            pass
        finally:
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()
        return bytes(taken[: self._excerpt_bytes])


class _Stage:
    """How far an exchange has come, in words."""

    def __init__(self) -> None:
        self.name = _CONNECTING

    async def note(self, event: str, _: object) -> None:
        self.name = _STAGES.get(event, self.name)

    @property
    def broken(self) -> str:
        if self.name == _BODY:
            return "The answer broke off, or its framing is not HTTP."
        return "The connection was closed without an answer, or the answer is not HTTP."


def _with_own_headers(headers: Mapping[str, str]) -> httpx.Headers:
    merged = httpx.Headers(headers)
    merged.update(_OURS)
    merged.pop("host", None)  # the URL says it
    return merged


def _text(body: bytes, encoding: str) -> str:
    if encoding.strip().lower() not in {"", "identity"}:
        return "(compressed, though that was not asked for)" if body else ""
    return body.decode("utf-8", "replace").replace("\0", "")
