"""Resolve a host once and reject it unless every address is allowed."""

import asyncio
import errno
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from infra.egress.addresses import METADATA, find_block_reason
from infra.egress.results import Address, BlockedURL, EgressPolicy, Unreachable
from infra.egress.urls import is_localhost, parse_address

HostLookup = Callable[[str], Awaitable[Sequence[Address]]]
"""Returns the addresses of a name, best first; OSError or an empty list if it has none."""

RESOURCE_ERRNOS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""Errors of a machine that has run out of sockets or memory."""

MAX_THREADS: Final = 256
_LOOPBACK: Final = (IPv4Address("127.0.0.1"), IPv6Address("::1"))


async def look_up_host(host: str) -> Sequence[Address]:
    """Resolve with the operating system, in a thread of its own.

    The few threads of an executor could all be blocked by names whose servers never answer, and would delay the end
    of the process as well. A caller that times out leaves its thread behind until the system times out too; so the
    number of threads is limited.
    """
    loop = asyncio.get_running_loop()
    result: asyncio.Future[list[Address]] = loop.create_future()

    def look_up() -> None:
        try:
            entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            _set_result(loop, result, error)
        else:
            _set_result(loop, result, [ip_address(entry[4][0]) for entry in entries])

    if threading.active_count() >= MAX_THREADS:
        raise OSError(errno.ENOMEM, "too many threads")
    try:
        threading.Thread(target=look_up, name="resolve", daemon=True).start()
    except RuntimeError as error:
        raise OSError(errno.ENOMEM, "no more threads") from error
    return await result


class AddressResolver:
    """Resolve hosts to addresses that the operator's policy allows."""

    def __init__(self, policy: EgressPolicy, lookup: HostLookup, *, seconds: float) -> None:
        self._allowed = policy.allowed_networks
        self._setting = policy.networks_setting
        self._lookup = lookup
        self._seconds = seconds

    def check_literal(self, host: str) -> tuple[Address, ...]:
        """Return the addresses that need no lookup, none for a name; raises BlockedURL."""
        if is_localhost(host):
            allowed = tuple(address for address in _LOOPBACK if not find_block_reason(address, self._allowed))
            if not allowed:
                raise self._build_error(f"{host} is the machine of the service itself", _LOOPBACK[0])
            return allowed
        address = parse_address(host)
        if address is None:
            return ()
        kind = find_block_reason(address, self._allowed)
        if kind is not None:
            raise self._build_error(f"{host} is {kind}", address)
        return (address,)

    async def resolve(self, host: str) -> tuple[Address, ...]:
        """Return the addresses of `host`, best first; BlockedURL if any is not allowed."""
        literal_addresses = self.check_literal(host)
        if literal_addresses:
            return literal_addresses
        addresses = await self._look_up(host)
        for address in addresses:
            kind = find_block_reason(address, self._allowed)
            if kind is not None:  # the address itself is not shown: it may be internal
                raise self._build_error(f"{host} resolves to {kind}", address, network="its network")
        return addresses

    def _build_error(self, what: str, address: Address, *, network: str | None = None) -> BlockedURL:
        """Build the error; it says which network to allow, where that helps and is safe to advise."""
        reason = f"{what}, and only public addresses are allowed."
        own = ip_network(str(address).partition("%")[0])
        is_metadata = find_block_reason(address, self._allowed) == METADATA
        if is_metadata or find_block_reason(address, (*self._allowed, own)):
            return BlockedURL(reason)  # an IPv4 address that it embeds is blocked as well
        hint = f"The operator of this service can allow it by adding {network or own} to {self._setting}."
        return BlockedURL(f"{reason} {hint}", is_by_policy=True)

    async def _look_up(self, host: str) -> tuple[Address, ...]:
        try:
            async with asyncio.timeout(self._seconds):
                addresses = tuple(dict.fromkeys(await self._lookup(host)))
        except TimeoutError:
            raise Unreachable("dns", f"{host} could not be resolved within {self._seconds:g} s.") from None
        except OSError as error:
            if error.errno in RESOURCE_ERRNOS:
                raise Unreachable(
                    "local", "This service cannot resolve names right now; try again in a moment."
                ) from error
            raise Unreachable("dns", f"{host} could not be resolved: {error.strerror or error}.") from error
        if not addresses:
            raise Unreachable("dns", f"{host} has no address.")
        return addresses


def _set_result(
    loop: asyncio.AbstractEventLoop,
    future: asyncio.Future[list[Address]],
    result: list[Address] | Exception,
) -> None:
    """Set the future's result from another thread."""

    def set_in_loop() -> None:
        if future.done():
            return  # the caller has timed out
        if isinstance(result, UnicodeError):
            future.set_exception(OSError("no name that could be resolved"))
        elif isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)

    try:
        loop.call_soon_threadsafe(set_in_loop)
    except RuntimeError:
        return  # the loop has closed in the meantime
