"""Detect that the peer of a connection to PostgreSQL is dead although the connection was not closed.

A network that drops packets, and a machine that has lost power, send nothing: only an unanswered query shows it.
"""

import asyncio
import logging
import socket
from collections.abc import Coroutine
from typing import Any, Final

import asyncpg
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.util import await_

logger = logging.getLogger("framehook.postgresql")

HEARTBEAT_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 1.5
DEAD: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""Raised by a query on a dead connection; a time-out is an OSError."""

_SOCKET_OPTIONS: Final = {
    "TCP_KEEPIDLE": 5,
    "TCP_KEEPINTVL": 2,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 10_000,  # milliseconds until what was sent must be acknowledged
}

Connection = Any  # asyncpg has no types


def enable_keep_alive(connection: Connection) -> None:
    """Let the kernel probe an idle connection and close it if the peer acknowledges nothing."""
    transport: asyncio.Transport = connection._transport  # noqa: SLF001 - asyncpg has no public access to it
    peer: socket.socket | None = transport.get_extra_info("socket")
    if peer is None or peer.family not in (socket.AF_INET, socket.AF_INET6):
        return
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _SOCKET_OPTIONS.items():
        if hasattr(socket, name):  # macOS lacks some of them
            peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def ping_at_checkout(engine: AsyncEngine) -> None:
    """Let the pool check each connection before its use, and replace a dead one.

    SQLAlchemy's own `pool_pre_ping` does the same, but waits as long as for a statement.
    """

    @event.listens_for(engine.sync_engine, "checkout")
    def _ping(connection: DBAPIConnection, _entry: ConnectionPoolEntry, _fairy: object) -> None:
        driver: Connection = connection.driver_connection
        try:
            await_(driver.execute("SELECT 1", timeout=ANSWER_SECONDS))
        except DEAD as error:
            driver.terminate()  # closing it properly would wait for the peer
            raise DisconnectionError(f"the connection is dead: {type(error).__name__}") from error


async def run_while_alive(connection: Connection, query: str, work: Coroutine[Any, Any, None]) -> None:
    """Run `work` until it ends, or until the connection no longer answers `query`."""
    work_task, ping_task = (
        asyncio.ensure_future(work),
        asyncio.ensure_future(_ping_until_dead(connection, query)),
    )
    try:
        await asyncio.wait((work_task, ping_task), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (work_task, ping_task):
            task.cancel()
        await asyncio.gather(work_task, ping_task, return_exceptions=True)
    if not work_task.cancelled():
        work_task.result()


async def _ping_until_dead(connection: Connection, query: str) -> None:
    """Run the query every HEARTBEAT_SECONDS, until it gets no answer."""
    try:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            await connection.execute(query, timeout=ANSWER_SECONDS)
    except DEAD as error:
        logger.warning("a connection to the database is dead: %s", type(error).__name__)
