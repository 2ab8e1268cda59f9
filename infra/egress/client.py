"""POST to an untrusted URL with address checks, a deadline and a response size limit."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from ssl import SSLContext, SSLError
from typing import Final

import httpcore
import httpx

from infra.egress.connect import CheckedBackend, ResponseTooLarge
from infra.egress.resolver import AddressResolver, HostLookup, look_up_host
from infra.egress.results import EgressPolicy, EgressResponse, Unreachable
from infra.egress.transport import CheckedTransport
from infra.egress.urls import get_host, parse_url

TOTAL_SECONDS: Final = 15.0
EXCERPT_BYTES: Final = 16_384
HEAD_BYTES: Final = 65_536
_MAX_RETRY_AFTER: Final = 64
_OWN_HEADERS: Final = {
    "User-Agent": "Framehook",
    "Accept-Encoding": "identity",  # excerpts are shown as received, and nothing is ever decompressed
    "Connection": "close",
}
_CONNECTING: Final = "connecting"
_BODY: Final = "reading the response body"
_STAGES: Final = {  # by the names of httpcore's trace
    "connection.start_tls.started": "negotiating TLS",
    "http11.send_request_headers.started": "sending the request",
    "http11.receive_response_headers.started": "waiting for the response",
    "http11.receive_response_body.started": _BODY,
}


class EgressClient:
    """Client for URLs that users gave; keeps no connection, cookie or other state."""

    def __init__(
        self,
        policy: EgressPolicy,
        *,
        lookup: HostLookup = look_up_host,
        total_seconds: float = TOTAL_SECONDS,
        excerpt_bytes: int = EXCERPT_BYTES,
        ssl_context: SSLContext | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._policy = policy
        self.total_seconds = total_seconds
        self._excerpt_bytes = excerpt_bytes
        self._resolver = AddressResolver(policy, lookup, seconds=total_seconds / 3)
        self._transport = transport or CheckedTransport(
            CheckedBackend(
                self._resolver, connect_seconds=total_seconds / 3, read_bytes=HEAD_BYTES + excerpt_bytes
            ),
            ssl_context or httpx.create_ssl_context(),
        )

    def check_url(self, url: str) -> None:
        """Check the URL as far as possible without the network; raises BlockedURL."""
        self._parse(url)

    async def check(self, url: str) -> None:
        """Check the URL and every address of its host; raises BlockedURL or Unreachable."""
        await self._resolver.resolve(get_host(parse_url(url, self._policy)))

    async def post(
        self, url: str, *, body: bytes | AsyncIterable[bytes], headers: Mapping[str, str]
    ) -> EgressResponse:
        """Send `body` and return the response; raises BlockedURL or Unreachable.

        The host is resolved and checked again, and the connection goes to a checked address.
        """
        stage = _Stage()
        request = httpx.Request(
            "POST",
            self._parse(url),
            content=body,
            headers=_with_own_headers(headers),
            extensions={"trace": stage.on_event},
        )
        try:
            async with asyncio.timeout(self.total_seconds):
                return await self._exchange(request)
        except (TimeoutError, httpx.TimeoutException, httpcore.TimeoutException):
            message = (
                f"There was no complete response within {self.total_seconds:g} s; "
                f"time ran out while {stage.name}."
            )
            raise Unreachable("timeout", message) from None
        except ResponseTooLarge:
            raise Unreachable(
                "protocol", f"The headers of the response are longer than {HEAD_BYTES} bytes."
            ) from None
        except (httpcore.RemoteProtocolError, httpx.RemoteProtocolError) as error:
            raise Unreachable("protocol", stage.protocol_error) from error
        except SSLError as error:  # TLS 1.3 reports some rejections after the handshake
            raise Unreachable("tls", f"TLS failed while {stage.name}.") from error
        except (httpcore.NetworkError, httpx.NetworkError) as error:
            raise Unreachable("closed", f"The connection was lost while {stage.name}.") from error

    async def close(self) -> None:
        """Close the transport."""
        await self._transport.aclose()

    def _parse(self, url: str) -> httpx.URL:
        parsed = parse_url(url, self._policy)
        self._resolver.check_literal(get_host(parsed))
        return parsed

    async def _exchange(self, request: httpx.Request) -> EgressResponse:
        start = time.monotonic()
        response = await self._transport.handle_async_request(request)
        try:
            body = await self._read_excerpt(response)
        finally:
            await response.aclose()
        retry_after = response.headers.get("retry-after", "")
        return EgressResponse(
            status=response.status_code,
            retry_after=retry_after if 0 < len(retry_after) <= _MAX_RETRY_AFTER else None,
            excerpt=_to_text(body, response.headers.get("content-encoding", "")),
            seconds=time.monotonic() - start,
        )

    async def _read_excerpt(self, response: httpx.Response) -> bytes:
        """Read as much of the body as is stored; the rest is never requested."""
        assert isinstance(response.stream, httpx.AsyncByteStream)
        excerpt = bytearray()
        chunks = aiter(response.stream)
        try:
            async for chunk in chunks:
                excerpt += chunk
                if len(excerpt) >= self._excerpt_bytes:
                    break
        except ResponseTooLarge:  # tiny chunks, with more framing than content
            pass
        finally:
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()
        return bytes(excerpt[: self._excerpt_bytes])


class _Stage:
    """How far an exchange has come, for messages."""

    def __init__(self) -> None:
        self.name = _CONNECTING

    async def on_event(self, event: str, _: object) -> None:
        self.name = _STAGES.get(event, self.name)

    @property
    def protocol_error(self) -> str:
        if self.name == _BODY:
            return "The response is truncated, or its framing is not valid HTTP."
        return "The connection was closed without a response, or the response is not HTTP."


def _with_own_headers(headers: Mapping[str, str]) -> httpx.Headers:
    merged = httpx.Headers(headers)
    merged.update(_OWN_HEADERS)
    merged.pop("host", None)  # taken from the URL
    return merged


def _to_text(body: bytes, encoding: str) -> str:
    if encoding.strip().lower() not in {"", "identity"}:
        return "(compressed, although identity was requested)" if body else ""
    return body.decode("utf-8", "replace").replace("\0", "")
