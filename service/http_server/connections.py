"""How many connections may be open, in all and from one address, and which of them makes way for a new one."""

import ipaddress
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from service.http_server.limits import ConnectionLimits

IPV6_NETWORK_BITS = 64


class Connection(Protocol):
    """An open connection, as the limits see it."""

    def evict(self) -> None:
        """Close it at once: it waits for a request, and its place is needed."""
        ...


class Pool:
    """Connections up to a limit. The one that has waited longest for a request makes way for a new one."""

    def __init__(self, total: int, per_address: int) -> None:
        self._total, self._per_address = total, per_address
        self._addresses: dict[Connection, str] = {}
        self._counts: Counter[str] = Counter()
        self._waiting: dict[Connection, None] = {}

    def __contains__(self, connection: Connection) -> bool:
        return connection in self._addresses

    def enter(self, connection: Connection, address: str) -> bool:
        """Take a connection in, if there is room or another can make way."""
        while self._counts[address] >= self._per_address:
            if not self._evict_longest_waiting(address):
                return False
        while len(self._addresses) >= self._total:
            if not self._evict_longest_waiting(None):
                return False
        self._addresses[connection] = address
        self._counts[address] += 1
        self._waiting[connection] = None
        return True

    def set_busy(self, connection: Connection) -> None:
        """Keep a connection that has sent a whole head: it does not make way for others."""
        self._waiting.pop(connection, None)

    def set_waiting(self, connection: Connection) -> None:
        """Let a connection whose requests are answered make way for others."""
        if connection in self._addresses:
            self._waiting[connection] = None

    def leave(self, connection: Connection) -> None:
        """Forget a connection that is closed, or is not in here."""
        address = self._addresses.pop(connection, None)
        if address is None:
            return
        self._waiting.pop(connection, None)
        self._counts[address] -= 1
        if not self._counts[address]:
            del self._counts[address]

    def _evict_longest_waiting(self, address: str | None) -> bool:
        for connection in self._waiting:
            if address is None or self._addresses[connection] == address:
                self.leave(connection)
                connection.evict()
                return True
        return False


class Connections:
    """All connections of a server: ordinary ones, and over their limits those of the reserve."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self._ordinary = Pool(limits.total, limits.per_address or limits.total)
        self._reserve = Pool(limits.reserved, limits.reserved)

    def enter(self, connection: Connection, address: str) -> bool:
        """Take in a new connection; False if not even the reserve has room."""
        return self._ordinary.enter(connection, address) or self._reserve.enter(connection, address)

    def start_request(self, connection: Connection, address: str, *, is_essential: bool) -> bool:
        """Note that a head has come; False if there is room for essential requests alone, and this is none."""
        if self.is_reserved(connection) and not is_essential:
            if not self._ordinary.enter(connection, address):
                self._reserve.set_busy(connection)
                return False
            self._reserve.leave(connection)
        self._ordinary.set_busy(connection)
        self._reserve.set_busy(connection)
        return True

    def is_reserved(self, connection: Connection) -> bool:
        """Whether the connection came over the ordinary limits."""
        return connection in self._reserve

    def finish_requests(self, connection: Connection) -> None:
        """Note that all requests of a connection are answered."""
        self._ordinary.set_waiting(connection)
        self._reserve.set_waiting(connection)

    def leave(self, connection: Connection) -> None:
        """Forget a closed connection."""
        self._ordinary.leave(connection)
        self._reserve.leave(connection)


class CountedWebSocket(WebSocketsSansIOProtocol):
    """A WebSocket that says when its connection is lost."""

    on_lost: Callable[[], None] | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.on_lost is not None:
            self.on_lost()


@lru_cache(maxsize=4_096)
def address_group(host: str) -> str:
    """Return what connections are counted by: an IPv4 address, or the network of an IPv6 address."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address), IPV6_NETWORK_BITS), strict=False))
