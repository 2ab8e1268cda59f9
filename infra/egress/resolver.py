"""From a host to the addresses that may be connected to: resolved once, and every one of them judged."""

import asyncio
import errno
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from infra.egress.addresses import blocked_reason
from infra.egress.results import Address, BlockedURL, EgressPolicy, Unreachable
from infra.egress.urls import is_localhost, literal

HostLookup = Callable[[str], Awaitable[Sequence[Address]]]
"""The addresses of a name, best first; OSError or none at all if it has none."""

RESOURCE_ERRNOS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""Errors of a machine that has run out of something."""

MOST_THREADS: Final = 256
_LOOPBACK: Final = (IPv4Address("127.0.0.1"), IPv6Address("::1"))


async def look_up_host(host: str) -> Sequence[Address]:
    """What the operating system says, asked in a thread of its own.

    An executor's few threads could all be held up by names whose servers never answer, and would hold up the end of
    the process as well. A caller that gives up leaves the thread behind until the system gives up too, so there is an
    end to how many there may be.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[Address]] = loop.create_future()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            _tell(loop, answer, error)
        else:
            _tell(loop, answer, [ip_address(entry[4][0]) for entry in found])

    if threading.active_count() >= MOST_THREADS:
        raise OSError(errno.ENOMEM, "too many threads")
    try:
        threading.Thread(target=ask, name="resolve", daemon=True).start()
    except RuntimeError as error:
        raise OSError(errno.ENOMEM, "no more threads") from error
    return await answer


class AddressResolver:
    """Judges hosts by the operator's rules."""

    def __init__(self, rules: EgressPolicy, resolve: HostLookup, *, seconds: float) -> None:
        self._allowed = rules.allowed_networks
        self._resolve = resolve
        self._seconds = seconds

    def check_literal(self, host: str) -> tuple[Address, ...]:
        """The addresses that a host means without being resolved, none for a name; BlockedURL if one may not be."""
        if is_localhost(host):
            allowed = tuple(address for address in _LOOPBACK if not blocked_reason(address, self._allowed))
            if not allowed:
                raise BlockedURL(f"{host} is this machine itself, which the operator has not allowed.")
            return allowed
        address = literal(host)
        if address is None:
            return ()
        kind = blocked_reason(address, self._allowed)
        if kind is not None:
            raise BlockedURL(f"{host} is {kind}, which the operator has not allowed.")
        return (address,)

    async def addresses(self, host: str) -> tuple[Address, ...]:
        """Where a connection to `host` may go, best first; BlockedURL if any of its addresses is refused."""
        spelled = self.check_literal(host)
        if spelled:
            return spelled
        found = await self._look_up(host)
        for address in found:
            kind = blocked_reason(address, self._allowed)
            if kind is not None:  # which address it is, is nobody's business outside
                raise BlockedURL(f"{host} resolves to {kind}, which the operator has not allowed.")
        return found

    async def _look_up(self, host: str) -> tuple[Address, ...]:
        try:
            async with asyncio.timeout(self._seconds):
                found = tuple(dict.fromkeys(await self._resolve(host)))
        except TimeoutError:
            raise Unreachable("dns", f"{host} could not be resolved in {self._seconds:g} s.") from None
        except OSError as error:
            if error.errno in RESOURCE_ERRNOS:
                raise Unreachable("local", "This service can resolve no more names just now.") from error
            raise Unreachable("dns", f"{host} could not be resolved: {error.strerror or error}.") from error
        if not found:
            raise Unreachable("dns", f"{host} has no address.")
        return found


def _tell(
    loop: asyncio.AbstractEventLoop, answer: asyncio.Future[list[Address]], found: list[Address] | Exception
) -> None:
    def settle() -> None:
        if answer.done():
            return  # nobody waits any more
        if isinstance(found, UnicodeError):
            answer.set_exception(OSError("no name that could be resolved"))
        elif isinstance(found, Exception):
            answer.set_exception(found)
        else:
            answer.set_result(found)

    try:
        loop.call_soon_threadsafe(settle)
    except RuntimeError:
        return  # the loop has ended meanwhile
