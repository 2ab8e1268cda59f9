"""Start worker processes: forked where that is possible, else as new interpreters."""

import asyncio
import logging
import os
from collections.abc import Sequence

from service.workers.fork_server import ForkRefused, ForkServer
from service.workers.process import WorkerProcess, start_interpreter

FIRST_PAUSE_SECONDS = 30.0
LONGEST_PAUSE_SECONDS = 3_600.0

IS_SUPPORTED = hasattr(os, "pidfd_open")

logger = logging.getLogger("framehook.workers")


class WorkerStarter:
    """Starts processes that run a module of `gpu`; while `run` runs, a fork server makes that quick."""

    def __init__(self, *, pause_seconds: float = FIRST_PAUSE_SECONDS) -> None:
        """`pause_seconds` is the least time between the end of a fork server and the start of the next."""
        self._pause_seconds = pause_seconds
        self._server: ForkServer | None = None

    @property
    def can_fork(self) -> bool:
        """Whether a fork server is ready."""
        return self._server is not None and self._server.is_ready

    async def run(self) -> None:
        """Keep a fork server until cancelled; one that ends is replaced after a pause, longer if it never served."""
        pause = self._pause_seconds
        while IS_SUPPORTED:
            was_ready, reason = await self._run_server()
            pause = self._pause_seconds if was_ready else min(2 * pause, LONGEST_PAUSE_SECONDS)
            logger.warning(
                "the fork server ended: %s; for %.0f s each run starts an interpreter", reason, pause
            )
            await asyncio.sleep(pause)
        logger.info(
            "this system has no pidfd_open, so there is no fork server: each run starts an interpreter"
        )
        await asyncio.Event().wait()

    async def start(
        self, module: str, *arguments: str, has_output: bool = False, kept_open: Sequence[int] = ()
    ) -> WorkerProcess:
        """Start a process that runs a module's `main`, with these file descriptors open in it; raises OSError."""
        if self._server is not None and self.can_fork:
            try:
                return await self._server.fork(module, arguments, has_output=has_output, kept_open=kept_open)
            except ForkRefused as reason:
                logger.warning("a process could not be forked: %s; starting an interpreter", reason)
        return await start_interpreter(module, arguments, has_output=has_output, kept_open=kept_open)

    async def close(self) -> None:
        """End the fork server; processes that it started live on, but how they end is not known any more."""
        if self._server is not None:
            await self._server.close()

    async def _run_server(self) -> tuple[bool, str]:
        """Run a fork server to its end; return whether it was ever ready, and why it ended."""
        try:
            self._server = await ForkServer.launch()
        except OSError as error:
            return False, str(error)
        status = await self._server.wait()
        return self._server.was_ready, f"exit status {status}"
