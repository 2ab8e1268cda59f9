"""Uvicorn with limits on clients; a shutdown closes the streams first.

Open streams would otherwise delay each shutdown until its timeout.
"""

import asyncio
import gc
import logging
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import cast

import uvicorn
from starlette.applications import Starlette
from uvicorn.lifespan.on import LifespanOn, LifespanSendMessage

from service.api.origins.cors import CrossOrigin
from service.api.origins.policy import OriginPolicy
from service.http_server.connections import Connections
from service.http_server.limits import HttpLimits, fit_to_open_files, raise_open_file_limit
from service.http_server.protocol import BoundedHttpProtocol
from service.http_server.websocket import CountedWebSocket

logger = logging.getLogger("framehook")

GRACEFUL_SHUTDOWN_SECONDS = 10
MAX_SOCKET_MESSAGE_BYTES = 64 * 1024
GC_THRESHOLD_OBJECTS = 50_000
TICKS_PER_CHECK = 10
"""Uvicorn ticks ten times a second, so timeouts are checked once a second."""
STALL_SECONDS = 5.0


class Lifespan(LifespanOn):
    """Lifespan that keeps the error of a failed start for the caller instead of logging it."""

    start_error: BaseException | None = None

    async def send(self, message: LifespanSendMessage) -> None:
        if message["type"] == "lifespan.startup.failed":
            self.start_error = sys.exc_info()[1]  # Starlette sends this from its except block
            message = {"type": "lifespan.startup.failed", "message": ""}
        elif message["type"] == "lifespan.shutdown.failed":
            error = sys.exc_info()[1]
            logger.error("the service did not stop cleanly: %s: %s", type(error).__name__, error)
            message = {"type": "lifespan.shutdown.failed", "message": ""}
        await super().send(message)


class Server(uvicorn.Server):
    """Server that closes the streams before it waits for connections to end."""

    def __init__(self, config: uvicorn.Config, close_streams: Callable[[], None]) -> None:
        super().__init__(config)
        self._close_streams = close_streams
        self._checked_at: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except SystemExit:
            error = getattr(self.lifespan, "start_error", None)
            if error is not None:
                raise error from error.__cause__  # it says which error of the database this is
            raise
        if sockets:
            self._log_started_message(sockets)  # uvicorn does not log sockets that it did not open
        # Objects that exist now live as long as the process, and requests rarely leave cycles: scanning the same
        # objects again and again took a seventh of the time of a busy server.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD_OBJECTS, 20, 50)

    async def on_tick(self, counter: int) -> bool:
        if counter % TICKS_PER_CHECK == 0:
            self.check_timeouts(asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    def check_timeouts(self, now: float) -> None:
        """Reject clients that are too slow; after a stall of this process restart their clocks."""
        has_stalled = self._checked_at is not None and now - self._checked_at > STALL_SECONDS
        self._checked_at = now
        for connection in list(self.server_state.connections):
            if not isinstance(connection, BoundedHttpProtocol):
                continue
            if has_stalled:
                connection.restart_clock(now)
            else:
                connection.check_timeout(now)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._close_streams()
        await super().shutdown(sockets)


def create_server(app: Starlette, host: str, port: int, limits: HttpLimits | None = None) -> Server:
    """Create the server of an app; connection limits are fitted to the open-file limit."""
    limits = limits or HttpLimits()
    limits = replace(limits, connections=fit_to_open_files(limits.connections, raise_open_file_limit()))
    protocol = partial(
        BoundedHttpProtocol,
        limits=limits,
        open_connections=Connections(limits.connections),
        cross_origin=getattr(app.state, "cross_origin", None) or CrossOrigin(OriginPolicy()),
        direct_app=getattr(app.state, "direct_app", None),
    )
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_SECONDS,
        http=cast(type[asyncio.Protocol], protocol),  # it is only called
        ws=CountedWebSocket,
        ws_max_size=MAX_SOCKET_MESSAGE_BYTES,
        ws_per_message_deflate=False,  # a frame is shared by all readers; each compressor would take 40 KiB
    )
    config.load()
    config.lifespan_class = Lifespan
    return Server(config, app.state.close_streams)
