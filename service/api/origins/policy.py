"""Decide by its origin what a page of a browser may do: read responses, open sockets, use the user's cookie."""

from typing import Any, Self
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from service.api.origins.refusal_log import RefusalLog
from service.problems import Forbidden
from service.settings import Settings
from service.web_addresses import ANY_ORIGIN, is_loopback

_HARMLESS_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_SITES = frozenset({"same-origin", "none"})


class ForeignOrigin(Forbidden):
    title = (
        "Pages of this origin may change something only with an Authorization header; "
        "send it, or name the origin in ALLOWED_ORIGINS."
    )
    code = "foreign_origin"


class OriginPolicy:
    """The origins that the service trusts: its own, and those of ALLOWED_ORIGINS.

    `*` there lets every page read responses and open sockets, but with a token or ticket that the page has itself:
    a user who visits a page does not lend it the cookie.
    """

    def __init__(
        self, own: str = "", allowed: tuple[str, ...] = (), listening: frozenset[str] = frozenset()
    ) -> None:
        self._own_address = urlsplit(own).netloc
        self._listening = listening
        self._named = frozenset(allowed) - {ANY_ORIGIN}
        self._allows_any = ANY_ORIGIN in allowed
        self.refusals = RefusalLog()

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the policy of a service; its own page may also be open at the address on which it listens.

        Files are at the public URL, so that the page reads them across origins then.
        """
        names = {settings.host, "localhost", "127.0.0.1"} if is_loopback(settings.host) else {settings.host}
        listening = frozenset(f"http://{name}:{settings.port}" for name in names)
        return cls(settings.origin, settings.allowed_origins, listening)

    @property
    def allows_pages(self) -> bool:
        """Tell whether pages of any other origin are allowed at all."""
        return self._allows_any or bool(self._named)

    def is_named(self, origin: str) -> bool:
        """Tell whether ALLOWED_ORIGINS names the origin, so that it is trusted with the user's credentials."""
        return origin in self._named

    def may_read(self, origin: str) -> bool:
        """Tell whether pages of another origin may read responses."""
        return self._allows_any or self.is_named(origin) or origin in self._listening

    def may_connect(self, connection: HTTPConnection[Any]) -> bool:
        """Tell whether the page that sent a request may open a WebSocket, which no browser prevents."""
        return self._allows_any or self.is_trusted(connection)

    def is_trusted(self, connection: HTTPConnection[Any]) -> bool:
        """Tell whether a request may use credentials that a browser adds by itself.

        Browsers say whose page a request is from; a client that says nothing is none.
        """
        site, origin = connection.headers.get("sec-fetch-site"), connection.headers.get("origin")
        if site in _OWN_SITES:  # also behind a proxy that changes Host
            return True
        if origin is None:
            return site is None
        return self.is_named(origin) or self._is_own(origin, connection.headers.get("host", ""))

    def check_credentials(self, connection: HTTPConnection[Any]) -> None:
        """Raise ForeignOrigin if a page of a foreign origin would change something in the user's name.

        Call it for a request without a token of its own. Forms and requests without a body need no permission of
        CORS, and neither do sockets.
        """
        if connection.scope.get("method") in _HARMLESS_METHODS or self.is_trusted(connection):
            return
        self.refusals.record(connection.headers.get("origin", "unknown"), "a request without a token")
        raise ForeignOrigin

    def _is_own(self, origin: str, host: str) -> bool:
        try:
            address = urlsplit(origin).netloc
        except ValueError:
            return False
        return bool(address) and address in (host, self._own_address)
