"""Uvicorn with bounds on what clients may take up, made to end the streams first when it stops.

Streams would otherwise hold a shutdown up until its time-out.
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

from service.http_server.connections import Connections, CountedWebSocket
from service.http_server.limits import HttpLimits, fit_to_open_files, open_file_limit
from service.http_server.protocol import BoundedHttpProtocol

logger = logging.getLogger("framehook")

GRACEFUL_SHUTDOWN_SECONDS = 10
MAX_SOCKET_MESSAGE_BYTES = 64 * 1024
COLLECT_AFTER_OBJECTS = 50_000
TICKS_APART = 10
"""A tenth of a second each: clients' times are looked at once a second."""
STANDSTILL_SECONDS = 5.0


class Lifespan(LifespanOn):
    """The application's start and end; what keeps it from starting is kept, and not logged."""

    start_error: BaseException | None = None

    async def send(self, message: LifespanSendMessage) -> None:
        if message["type"] == "lifespan.startup.failed":
            self.start_error = sys.exc_info()[1]  # Starlette sends this while it handles the error
            message = {"type": "lifespan.startup.failed", "message": ""}
        elif message["type"] == "lifespan.shutdown.failed":
            error = sys.exc_info()[1]
            logger.error("the service did not stop as it should: %s: %s", type(error).__name__, error)
            message = {"type": "lifespan.shutdown.failed", "message": ""}
        await super().send(message)


class Server(uvicorn.Server):
    """A server whose streams are closed before it waits for connections to end."""

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
                raise error from None
            raise
        if sockets:
            self._log_started_message(sockets)  # uvicorn leaves that to whoever opened the sockets
        # What stands now stands as long as the process, and what requests leave behind is hardly ever a cycle:
        # the collector looked at the same objects over and over, which took a seventh of a busy server's time.
        gc.collect()
        gc.freeze()
        gc.set_threshold(COLLECT_AFTER_OBJECTS, 20, 50)

    async def on_tick(self, counter: int) -> bool:
        if counter % TICKS_APART == 0:
            self.check_timeouts(asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    def check_timeouts(self, now: float) -> None:
        """End what clients have not sent in time, unless this process stood still and could not read it."""
        stood_still = self._checked_at is not None and now - self._checked_at > STANDSTILL_SECONDS
        self._checked_at = now
        for connection in list(self.server_state.connections):
            if not isinstance(connection, BoundedHttpProtocol):
                continue
            if stood_still:
                connection.restart_clock(now)
            else:
                connection.check_timeout(now)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._close_streams()
        await super().shutdown(sockets)


def create_server(app: Starlette, host: str, port: int, limits: HttpLimits | None = None) -> Server:
    """The app, ready to be served."""
    limits = limits or HttpLimits()
    limits = replace(limits, connections=fit_to_open_files(limits.connections, open_file_limit()))
    protocol = partial(BoundedHttpProtocol, limits=limits, open_connections=Connections(limits.connections))
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
    )
    config.load()
    config.lifespan_class = Lifespan
    return Server(config, app.state.close_streams)
