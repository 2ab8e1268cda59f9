"""Uvicorn, made to end the streams first: they would otherwise hold a shutdown up until its time-out."""

import gc
import socket
from collections.abc import Callable

import uvicorn
from starlette.applications import Starlette

GRACEFUL_SHUTDOWN_SECONDS = 10
MAX_SOCKET_MESSAGE_BYTES = 64 * 1024
COLLECT_AFTER_OBJECTS = 50_000


class Server(uvicorn.Server):
    """A server whose streams are closed before it waits for connections to end."""

    def __init__(self, config: uvicorn.Config, close_streams: Callable[[], None]) -> None:
        super().__init__(config)
        self._close_streams = close_streams

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # What stands now stands as long as the process, and what requests leave behind is hardly ever a cycle:
        # the collector looked at the same objects over and over, which took a seventh of a busy server's time.
        gc.collect()
        gc.freeze()
        gc.set_threshold(COLLECT_AFTER_OBJECTS, 20, 50)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._close_streams()
        await super().shutdown(sockets)


def server(app: Starlette, host: str, port: int) -> Server:
    """The app, ready to be served."""
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
        ws_max_size=MAX_SOCKET_MESSAGE_BYTES,
        ws="websockets-sansio",
    )
    return Server(config, app.state.close_streams)
