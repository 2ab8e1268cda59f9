"""What an operator allows, and the three ways in which a call ends."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True)
class EgressPolicy:
    """What the operator allows beyond public addresses and https."""

    allowed_networks: tuple[Network, ...] = ()
    allow_http: bool = False


class BlockedURL(Exception):
    """The URL, or what its host resolves to, is refused; `reason` may be shown to whoever gave the URL."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unreachable(Exception):
    """No whole answer came; `message` is a sentence to act on, and quotes nothing that was received.

    Codes: `dns`, `connect`, `tls`, `timeout` (the whole exchange took too long), `closed` (the connection was reset),
    `protocol` (no HTTP, or an answer that ends in the middle), and `local`: this machine has no sockets or threads
    left, which says nothing of the other side.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class EgressResponse:
    """What was answered, whatever the status: a redirect is an answer too.

    `excerpt` is the beginning of the body as text, without NUL characters.
    """

    status: int
    retry_after: str | None
    excerpt: str
    seconds: float
