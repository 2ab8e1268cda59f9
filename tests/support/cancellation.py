"""Cancel work at a chosen suspension, once or at each later one as anyio's scopes do."""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from typing import Any

MAX_SUSPENSIONS = 500


class CancelledAt(Awaitable[None]):
    """Awaits `work` and cancels the awaiting task at `times` suspensions from number `at` on."""

    def __init__(self, work: Callable[[], Awaitable[object]], at: int, times: int) -> None:
        self._work = work
        self._cancelled = range(at, at + times)
        self.suspensions = 0

    def __await__(self) -> Generator[Any, Any, None]:
        task = asyncio.current_task()
        assert task is not None
        iterator = self._work().__await__()
        future = next(iterator, None)
        while True:
            self.suspensions += 1
            if self.suspensions in self._cancelled:
                asyncio.get_running_loop().call_soon(task.cancel)
            try:
                try:
                    yield future
                except asyncio.CancelledError as error:
                    future = iterator.throw(error)
                else:
                    future = next(iterator)
            except StopIteration:
                return


async def cancel_everywhere(work: Callable[[], Awaitable[object]], times: int) -> int:
    """Run `work` repeatedly, cancelled one suspension later each time, until it completes.

    Return the number of runs.
    """
    for at in range(1, MAX_SUSPENSIONS):
        attempt = CancelledAt(work, at, times)
        with suppress(asyncio.CancelledError):
            await asyncio.ensure_future(_run(attempt))
        if attempt.suspensions < at:
            return at
    raise AssertionError(f"the work did not complete within {MAX_SUSPENSIONS} suspensions")


async def _run(attempt: CancelledAt) -> None:
    await attempt
