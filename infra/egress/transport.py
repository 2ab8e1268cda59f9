"""An httpx transport that opens one checked connection per request.

Connections are not reused: a connection kept for a name would outlive a change of its addresses, and a consumer gets
few deliveries in the time that it could be kept.
"""

import ssl
from collections.abc import AsyncIterable, AsyncIterator

import httpcore
import httpx

from infra.egress.connect import CheckedBackend


class CheckedTransport(httpx.AsyncBaseTransport):
    """Transport without proxies, cookies or redirects.

    Raises BlockedURL, Unreachable and the errors of httpcore.
    """

    def __init__(self, backend: CheckedBackend, ssl_context: ssl.SSLContext) -> None:
        self._backend = backend
        self._ssl_context = ssl_context

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request on a new connection, which closes with the response."""
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        connection = httpcore.AsyncHTTPConnection(
            url.origin, ssl_context=self._ssl_context, network_backend=self._backend
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
            response.status, headers=response.headers, stream=_ResponseBody(response.stream, connection)
        )


class _ResponseBody(httpx.AsyncByteStream):
    def __init__(self, chunks: AsyncIterable[bytes], connection: httpcore.AsyncHTTPConnection) -> None:
        self._chunks = chunks
        self._connection = connection

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._chunks:
            yield chunk

    async def aclose(self) -> None:
        await self._connection.aclose()
