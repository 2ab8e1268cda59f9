"""Sockets for httpcore: to checked addresses only, and with an end to what is read from them."""

import ssl
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import httpcore

from infra.egress.resolver import RESOURCE_ERRNOS, AddressResolver
from infra.egress.results import Address, Unreachable

_MOST_ADDRESSES: Final = 4


class ResponseTooLarge(Exception):
    """The other side has sent as many bytes as are read from one connection."""


class CheckedBackend(httpcore.AsyncNetworkBackend):
    """Resolves a host, has every address judged, and connects to one of those that were judged."""

    def __init__(self, guard: AddressResolver, *, connect_seconds: float, read_bytes: int) -> None:
        self._guard = guard
        self._connect_seconds = connect_seconds
        self._read_bytes = read_bytes
        self._sockets = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - httpcore's signature; deadlines are ours
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        """A connection to `host`; BlockedURL, or Unreachable with `dns` or `connect`."""
        addresses = (await self._guard.addresses(host))[:_MOST_ADDRESSES]
        return LimitedStream(await self._connect(addresses, host, port), host, self._read_bytes)

    async def _connect(
        self, addresses: Sequence[Address], host: str, port: int
    ) -> httpcore.AsyncNetworkStream:
        # One address that swallows packets must leave time for the others.
        seconds = self._connect_seconds / len(addresses)
        failure: Exception | None = None
        for address in addresses:
            try:
                return await self._sockets.connect_tcp(str(address), port, timeout=seconds)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        if any(getattr(cause, "errno", None) in RESOURCE_ERRNOS for cause in _causes(failure)):
            raise Unreachable("local", "This service can open no more connections just now.") from failure
        raise Unreachable("connect", f"{host} port {port} {_fault(failure)}.") from failure


class LimitedStream(httpcore.AsyncNetworkStream):
    """A connection of which so many bytes are read and no more."""

    def __init__(self, stream: httpcore.AsyncNetworkStream, host: str, read_bytes: int) -> None:
        self._stream = stream
        self._host = host
        self._left = read_bytes

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        if not self._left:
            raise ResponseTooLarge
        received = await self._stream.read(min(max_bytes, self._left), timeout)
        self._left -= len(received)
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
            raise Unreachable("tls", f"{self._host}: {_tls_fault(error)}.") from error
        except BaseException:
            await self._stream.aclose()  # httpcore has lost hold of it, if the deadline came in the handshake
            raise
        return LimitedStream(inner, self._host, self._left)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _fault(failure: Exception | None) -> str:
    if isinstance(failure, httpcore.ConnectTimeout):
        return "did not answer in time"
    if any(isinstance(cause, ConnectionRefusedError) for cause in _causes(failure)):
        return "refused the connection"
    return "could not be reached"


def _tls_fault(failure: Exception) -> str:
    for cause in _causes(failure):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the certificate is not valid: {cause.verify_message.rstrip('.')}"
    return "the TLS handshake failed"


def _causes(failure: BaseException | None) -> Iterator[BaseException]:
    while failure is not None:
        yield failure
        if isinstance(failure, BaseExceptionGroup):  # one for each address tried, and one was
            failure = failure.exceptions[0]
        else:
            failure = failure.__cause__ or failure.__context__
