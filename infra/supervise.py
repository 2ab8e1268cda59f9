"""Keeps named loops alive: one that dies is logged, shows as down, and is started again after a pause."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

logger = logging.getLogger("framehook.supervise")

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 10.0
STEADY_SECONDS = 30.0


class Supervisor:
    """The loops of one process, by name."""

    def __init__(self) -> None:
        self._down: dict[str, str] = {}

    @property
    def down(self) -> dict[str, str]:
        """The loops that are not running now, and the class of what ended each."""
        return dict(self._down)

    async def keep(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        """Run `loop` until cancelled, starting it again whenever it ends or raises."""
        clock = asyncio.get_running_loop().time
        pause = 0.0
        while True:
            began = clock()
            try:
                self._down.pop(name, None)
                await loop()
                reason = "ended"
            except Exception as error:
                reason = type(error).__name__
                logger.exception("the %s loop died", name)
            self._down[name] = reason
            steady = clock() - began > STEADY_SECONDS
            pause = FIRST_PAUSE_SECONDS if steady or not pause else min(pause * 2, LONGEST_PAUSE_SECONDS)
            logger.warning("starting the %s loop again in %.1f s", name, pause)
            await asyncio.sleep(pause)
