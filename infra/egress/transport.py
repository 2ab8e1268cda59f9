"""An httpx transport that opens one checked connection for a request, and closes it after the answer.

No connection is kept: one kept for a name would serve that name after it resolves elsewhere, and a consumer gets few
deliveries in the time that it could be kept.
"""

import ssl
from collections.abc import AsyncIterable, AsyncIterator

import httpcore
import httpx

from infra.egress.connect import CheckedBackend


class CheckedTransport(httpx.AsyncBaseTransport):
    """Raises BlockedURL, Unreachable and httpcore's errors. It knows nothing of proxies, cookies or redirects."""

    def __init__(self, network: CheckedBackend, ssl_context: ssl.SSLContext) -> None:
        self._network = network
        self._ssl_context = ssl_context

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        connection = httpcore.AsyncHTTPConnection(
            url.origin, ssl_context=self._ssl_context, network_backend=self._network
        )
        try:
            response = await connection.handle_async_request(
                httpcore.Request(
                    request.method,
                    url,
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        except BaseException:
            await connection.aclose()
            raise
        assert isinstance(response.stream, AsyncIterable)
        return httpx.Response(
            response.status, headers=response.headers, stream=_Body(response.stream, connection)
        )


class _Body(httpx.AsyncByteStream):
    def __init__(self, chunks: AsyncIterable[bytes], connection: httpcore.AsyncHTTPConnection) -> None:
        self._chunks = chunks
        self._connection = connection

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._chunks:
            yield chunk

    async def aclose(self) -> None:
        await self._connection.aclose()
