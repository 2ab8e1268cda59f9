"""Watch a batch until all of its exports have ended."""

import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from urllib.parse import quote

from framehook.batches.models import Batch
from framehook.errors import QuotaExceeded, Unavailable, Unreachable
from framehook.http_client import HttpClient
from framehook.streams.eventsource import ReconnectBackoff
from framehook.streams.stream_reader import MAX_OUTAGE_SECONDS, POLL_SECONDS, OnDisconnect

OUTAGES = (Unreachable, Unavailable, QuotaExceeded)


def batch_path(batch_id: str) -> str:
    return f"/api/batches/{quote(batch_id, safe='')}"


@dataclass(frozen=True)
class BatchWatch:
    """A watch of one batch, which asks for its totals again and again: no stream carries them.

    `deadline` is on the monotonic clock.
    """

    http: HttpClient
    batch_id: str
    on_disconnect: OnDisconnect
    deadline: float | None = None

    async def states(self) -> AsyncGenerator[Batch, None]:
        """Yield the batch whenever it has changed, until all of its exports have ended."""
        backoff, last = ReconnectBackoff(self.http.transport.jitter), None
        while True:
            try:
                batch = await self.http.load(Batch, "GET", batch_path(self.batch_id), tries=1)
            except OUTAGES as error:
                delay = self._wait_for_service(backoff, error)
            else:
                backoff.reset()
                delay = POLL_SECONDS
                if batch != last:
                    last = batch
                    yield batch
                if batch.is_final:
                    return
            await self.http.transport.sleep(min(delay, self._check_deadline()))

    def _wait_for_service(
        self, backoff: ReconnectBackoff, error: Unreachable | Unavailable | QuotaExceeded
    ) -> float:
        """Return for how long to wait; raises the error if the service has been away for too long."""
        if backoff.waited_seconds > MAX_OUTAGE_SECONDS:
            raise error
        self.on_disconnect(str(error))
        retry_after_seconds = None if isinstance(error, Unreachable) else error.retry_after_seconds
        return backoff.next_delay(retry_after_seconds or 0.0)

    def _check_deadline(self) -> float:
        """Return the seconds until the deadline; raises TimeoutError when it has passed."""
        seconds = float("inf") if self.deadline is None else self.deadline - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("the batch has not ended in time; its exports are still running")
        return seconds
