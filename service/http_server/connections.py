"""Limit open connections, in total and per address; idle ones are evicted for new ones."""

import ipaddress
from collections import Counter
from functools import lru_cache
from typing import Protocol

from service.http_server.limits import ConnectionLimits

IPV6_NETWORK_BITS = 64


class Connection(Protocol):
    """An open connection that can be evicted."""

    def evict(self) -> None:
        """Close the idle connection at once to free its slot."""
        ...


class ConnectionPool:
    """Connections up to a limit; the one that has been idle longest is evicted for a new one."""

    def __init__(self, total: int, per_address: int) -> None:
        self._total, self._per_address = total, per_address
        self._addresses: dict[Connection, str] = {}
        self._counts: Counter[str] = Counter()
        self._idle: dict[Connection, None] = {}

    def __contains__(self, connection: Connection) -> bool:
        return connection in self._addresses

    def admit(self, connection: Connection, address: str) -> bool:
        """Admit a connection if there is room or an idle one can be evicted."""
        while self._counts[address] >= self._per_address:
            if not self._evict_longest_idle(address):
                return False
        while len(self._addresses) >= self._total:
            if not self._evict_longest_idle(None):
                return False
        self._addresses[connection] = address
        self._counts[address] += 1
        self._idle[connection] = None
        return True

    def mark_busy(self, connection: Connection) -> None:
        """Protect a connection that has sent a complete head from eviction."""
        self._idle.pop(connection, None)

    def mark_idle(self, connection: Connection) -> None:
        """Allow the eviction of a connection whose requests are answered."""
        if connection in self._addresses:
            self._idle[connection] = None

    def remove(self, connection: Connection) -> None:
        """Remove a connection; no-op if it is not in this pool."""
        address = self._addresses.pop(connection, None)
        if address is None:
            return
        self._idle.pop(connection, None)
        self._counts[address] -= 1
        if not self._counts[address]:
            del self._counts[address]

    def replace(self, connection: Connection, busy: Connection) -> None:
        """Let a busy connection take the place of another; no-op if that is not in this pool."""
        address = self._addresses.pop(connection, None)
        if address is not None:
            self._idle.pop(connection, None)
            self._addresses[busy] = address

    def _evict_longest_idle(self, address: str | None) -> bool:
        for connection in self._idle:
            if address is None or self._addresses[connection] == address:
                self.remove(connection)
                connection.evict()
                return True
        return False


class Connections:
    """All connections of a server: ordinary ones, and a reserve beyond their limits."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self._ordinary = ConnectionPool(limits.total, limits.per_address or limits.total)
        self._reserve = ConnectionPool(limits.reserved, limits.reserved)

    def admit(self, connection: Connection, address: str) -> bool:
        """Admit a new connection; return False if even the reserve is full."""
        return self._ordinary.admit(connection, address) or self._reserve.admit(connection, address)

    def start_request(self, connection: Connection, address: str, *, is_essential: bool) -> bool:
        """Record a complete head; return False if the request must be rejected.

        A connection from the reserve serves essential requests only.
        """
        if self.is_reserved(connection) and not is_essential:
            if not self._ordinary.admit(connection, address):
                self._reserve.mark_busy(connection)
                return False
            self._reserve.remove(connection)
        self._ordinary.mark_busy(connection)
        self._reserve.mark_busy(connection)
        return True

    def is_reserved(self, connection: Connection) -> bool:
        """Tell whether the connection exceeds the ordinary limits."""
        return connection in self._reserve

    def finish_requests(self, connection: Connection) -> None:
        """Record that all requests of a connection are answered."""
        self._ordinary.mark_idle(connection)
        self._reserve.mark_idle(connection)

    def replace(self, connection: Connection, upgraded: Connection) -> None:
        """Let a WebSocket take the place of the connection that it was."""
        self._ordinary.replace(connection, upgraded)
        self._reserve.replace(connection, upgraded)

    def remove(self, connection: Connection) -> None:
        """Remove a closed connection."""
        self._ordinary.remove(connection)
        self._reserve.remove(connection)


@lru_cache(maxsize=4_096)
def address_group(host: str) -> str:
    """Return the address that connections are counted by; for IPv6 it is the /64 network."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address), IPV6_NETWORK_BITS), strict=False))
