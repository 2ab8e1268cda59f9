"""Notices that the other side of a connection to PostgreSQL is dead although nobody closed it.

A network that drops packets, or a machine that is gone, says nothing: only a question without an answer shows it.
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
"""What a question on a dead connection raises; a time-out is an OSError."""

_SOCKET_OPTIONS: Final = {
    "TCP_KEEPIDLE": 5,
    "TCP_KEEPINTVL": 2,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 10_000,  # milliseconds until what was sent must be acknowledged
}

Connection = Any  # asyncpg brings no types


def enable_keep_alive(connection: Connection) -> None:
    """Have the kernel probe an idle connection, and give up one whose peer acknowledges nothing."""
    transport: asyncio.Transport = connection._transport  # noqa: SLF001 - asyncpg has no other way to it
    peer: socket.socket | None = transport.get_extra_info("socket")
    if peer is None or peer.family not in (socket.AF_INET, socket.AF_INET6):
        return
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _SOCKET_OPTIONS.items():
        if hasattr(socket, name):  # not every system has each
            peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def ping_at_checkout(engine: AsyncEngine) -> None:
    """Have the pool ask each connection whether it is alive before it is used, and replace one that is not.

    SQLAlchemy's own ping does so as well, but waits as long as for a statement.
    """

    @event.listens_for(engine.sync_engine, "checkout")
    def _ping(connection: DBAPIConnection, _entry: ConnectionPoolEntry, _fairy: object) -> None:
        driver: Connection = connection.driver_connection
        try:
            await_(driver.execute("SELECT 1", timeout=ANSWER_SECONDS))
        except DEAD as error:
            driver.terminate()  # there is nobody to say goodbye to
            raise DisconnectionError(f"the connection is dead: {type(error).__name__}") from error


async def run_while_alive(connection: Connection, question: str, work: Coroutine[Any, Any, None]) -> None:
    """Run `work` until it ends, or until the connection does not answer `question` any more."""
    working, asking = asyncio.ensure_future(work), asyncio.ensure_future(_ask(connection, question))
    try:
        await asyncio.wait((working, asking), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (working, asking):
            task.cancel()
        await asyncio.gather(working, asking, return_exceptions=True)
    if not working.cancelled():
        working.result()


async def _ask(connection: Connection, question: str) -> None:
    """Ask again and again, until no answer comes."""
    try:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            await connection.execute(question, timeout=ANSWER_SECONDS)
    except DEAD as error:
        logger.warning("a connection to the database is dead: %s", type(error).__name__)
