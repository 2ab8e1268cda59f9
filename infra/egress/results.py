"""The policy of an operator, and the response or the error of a call."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True)
class EgressPolicy:
    """Networks and schemes that the operator allows beyond public addresses and https.

    `networks_setting` and `http_setting` are the names of the settings behind them, for messages that say what to set.
    """

    allowed_networks: tuple[Network, ...] = ()
    allow_http: bool = False
    networks_setting: str = "allowed_networks"
    http_setting: str = "allow_http"


class BlockedURL(Exception):
    """The URL or an address of its host is not allowed; `reason` may be shown to the user.

    `is_by_policy` says that the URL is well formed, and a setting could allow it.
    """

    def __init__(self, reason: str, *, is_by_policy: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_by_policy = is_by_policy


class Unreachable(Exception):
    """No complete response came; `message` says why and quotes nothing that was received.

    Codes: `dns`, `connect`, `tls`, `timeout` (the whole exchange took too long), `closed` (the connection was reset),
    `protocol` (not HTTP, or a truncated response), and `local`: this machine has no sockets or threads left, which
    says nothing about the other side.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class EgressResponse:
    """Response of any status; redirects are not followed.

    `excerpt` is the beginning of the body as text, without NUL characters.
    """

    status: int
    retry_after: str | None
    excerpt: str
    seconds: float

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300  # noqa: PLR2004 - 2xx
