"""Reject requests for host names that are not the service's own."""

import re
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.problem_handlers import problem_response
from service.problems import UnknownHost

_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::\d*)?", re.IGNORECASE)


class KnownHosts:
    """Middleware that rejects a request whose `Host` is none of `hosts`, on any port."""

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and not self._is_known(
            Headers(scope=scope).get("host", "")
        ):
            await problem_response(UnknownHost(), scope["path"])(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_known(self, header: str) -> bool:
        match = _HOST.fullmatch(header)
        return match is not None and (match[1] or match[2]).lower() in self._hosts
