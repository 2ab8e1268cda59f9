"""Cancels work at a chosen suspension: once, or again whenever it suspends after that, as anyio's scopes do."""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from typing import Any

MAX_SUSPENSIONS = 500


class CancelledAt(Awaitable[None]):
    """Awaits `work`, and has the task that does so cancelled from the n-th suspension on."""

    def __init__(self, work: Callable[[], Awaitable[object]], at: int, times: int) -> None:
        self._work = work
        self._cancelled = range(at, at + times)
        self.suspensions = 0

    def __await__(self) -> Generator[Any, Any, None]:
        task = asyncio.current_task()
        assert task is not None
        step = self._work().__await__()
        waits_for = next(step, None)
        while True:
            self.suspensions += 1
            if self.suspensions in self._cancelled:
                asyncio.get_running_loop().call_soon(task.cancel)
            try:
                try:
                    yield waits_for
                except asyncio.CancelledError as cancelled:
                    waits_for = step.throw(cancelled)
                else:
                    waits_for = next(step)
            except StopIteration:
                return


async def cancel_everywhere(work: Callable[[], Awaitable[object]], times: int) -> int:
    """Run `work` again and again, cancelled one suspension later each time, until it completes; how often."""
    for at in range(1, MAX_SUSPENSIONS):
        attempt = CancelledAt(work, at, times)
        with suppress(asyncio.CancelledError):
            await asyncio.ensure_future(_awaited(attempt))
        if attempt.suspensions < at:
            return at
    raise AssertionError("it never completes")


async def _awaited(attempt: CancelledAt) -> None:
    await attempt
