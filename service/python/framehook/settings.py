"""The URL of the service and the token of the user, given or from the environment."""

import inspect
import os
import re
from collections.abc import Awaitable, Callable

import httpx

from framehook.errors import FramehookError

DEFAULT_URL = "http://127.0.0.1:8000"
URL_VARIABLE, TOKEN_VARIABLE = "FRAMEHOOK_URL", "FRAMEHOOK_TOKEN"
_TOKEN = re.compile(r"[!-~]+")
_LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})

TokenSource = str | Callable[[], str | Awaitable[str]] | None
"""A bearer token, or a function that returns a fresh one: called at first, and when the last one has expired."""


class Token:
    """The bearer token of a client."""

    def __init__(self, source: TokenSource) -> None:
        self._source = os.environ.get(TOKEN_VARIABLE) if source is None else source
        self._headers = None if callable(self._source) else _to_headers(self._source)

    @property
    def can_renew(self) -> bool:
        """Tell whether an expired token can be replaced by a new one."""
        return callable(self._source)

    def forget(self) -> None:
        """Get a new token for the next request, if there is a way."""
        if callable(self._source):
            self._headers = None

    async def headers(self) -> dict[str, str]:
        """Return the header that carries the token."""
        if self._headers is None:
            assert callable(self._source)
            token = self._source()
            self._headers = _to_headers(await token if inspect.isawaitable(token) else token)
        return self._headers


def parse_url(url: str | None) -> tuple[str, bool]:
    """Return the service's URL without a trailing slash, and whether it is on this machine."""
    text = url or os.environ.get(URL_VARIABLE) or DEFAULT_URL
    try:
        parsed = httpx.URL(text)
    except httpx.InvalidURL:
        parsed = httpx.URL("")
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.userinfo or parsed.query:
        raise FramehookError(
            "the URL of the service must look like http://127.0.0.1:8000, without user, password or query"
        )
    return str(parsed).rstrip("/"), parsed.host in _LOOPBACK_HOSTS


def _to_headers(token: str | None) -> dict[str, str]:
    token = (token or "").strip()
    if token and not _TOKEN.fullmatch(token):
        raise FramehookError("the token contains invalid characters; copy it without spaces and line breaks")
    return {"Authorization": f"Bearer {token}"} if token else {}
