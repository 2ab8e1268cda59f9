"""Sockets for httpcore: to checked addresses only, with a limit on what is read."""

import ssl
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import httpcore

from infra.egress.resolver import RESOURCE_ERRNOS, AddressResolver
from infra.egress.results import Address, Unreachable

_MAX_ADDRESSES: Final = 4


class ResponseTooLarge(Exception):
    """The peer has sent more bytes than are read from one connection."""


class CheckedBackend(httpcore.AsyncNetworkBackend):
    """Network backend that resolves a host and connects to a checked address."""

    def __init__(self, resolver: AddressResolver, *, connect_seconds: float, read_bytes: int) -> None:
        self._resolver = resolver
        self._connect_seconds = connect_seconds
        self._read_bytes = read_bytes
        self._sockets = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - httpcore's signature; this class has its own deadline
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        """Connect to `host`; raises BlockedURL, or Unreachable with `dns`, `connect` or `local`."""
        addresses = (await self._resolver.resolve(host))[:_MAX_ADDRESSES]
        return LimitedStream(await self._connect(addresses, host, port), host, self._read_bytes)

    async def _connect(
        self, addresses: Sequence[Address], host: str, port: int
    ) -> httpcore.AsyncNetworkStream:
        # An address that drops packets must leave time for the others.
        seconds = self._connect_seconds / len(addresses)
        failure: Exception | None = None
        for address in addresses:
            try:
                return await self._sockets.connect_tcp(str(address), port, timeout=seconds)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        if any(getattr(cause, "errno", None) in RESOURCE_ERRNOS for cause in _iterate_causes(failure)):
            raise Unreachable(
                "local", "This service cannot open connections right now; it will try again."
            ) from failure
        raise Unreachable("connect", f"{host} port {port} {_describe_connect_error(failure)}.") from failure


class LimitedStream(httpcore.AsyncNetworkStream):
    """Connection that stops after a number of bytes was read."""

    def __init__(self, stream: httpcore.AsyncNetworkStream, host: str, read_bytes: int) -> None:
        self._stream = stream
        self._host = host
        self._bytes_left = read_bytes

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        if not self._bytes_left:
            raise ResponseTooLarge
        received = await self._stream.read(min(max_bytes, self._bytes_left), timeout)
        self._bytes_left -= len(received)
        return received

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        try:
            inner = await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except httpcore.ConnectError as error:
            raise Unreachable("tls", f"{self._host}: {_describe_tls_error(error)}.") from error
        except BaseException:
            await self._stream.aclose()  # httpcore does not close it if the deadline passes in the handshake
            raise
        return LimitedStream(inner, self._host, self._bytes_left)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _describe_connect_error(failure: Exception | None) -> str:
    if isinstance(failure, httpcore.ConnectTimeout):
        return "did not answer in time"
    if any(isinstance(cause, ConnectionRefusedError) for cause in _iterate_causes(failure)):
        return "refused the connection"
    return "could not be reached"


def _describe_tls_error(failure: Exception) -> str:
    for cause in _iterate_causes(failure):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the certificate is not valid: {cause.verify_message.rstrip('.')}"
    return "the TLS handshake failed"


def _iterate_causes(failure: BaseException | None) -> Iterator[BaseException]:
    while failure is not None:
        yield failure
        if isinstance(failure, BaseExceptionGroup):  # one per address tried; only one was
            failure = failure.exceptions[0]
        else:
            failure = failure.__cause__ or failure.__context__
