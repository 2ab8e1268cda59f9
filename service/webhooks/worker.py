"""Send due deliveries: claim in batches, send concurrently, record in batches.

An attempt is logged before it is sent, and its lease outlives every request. So if the process dies at any point, the
delivery is sent again with the same `webhook-id`: at least once. Every replica may run a worker.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Final

from sqlalchemy.exc import DataError, IntegrityError

from infra.database.base import Database
from service.clock import ClockCheck
from service.metrics.traffic import WebhookMetrics
from service.webhooks import deliveries
from service.webhooks.clock_steps import correct_times
from service.webhooks.deliveries import ClaimedDelivery, FinishedAttempt
from service.webhooks.models import Delivery, Endpoint
from service.webhooks.outbox import Outbox
from service.webhooks.retry_policy import AttemptResult
from service.webhooks.scheduling.claims import WorkerConfig, claim_due
from service.webhooks.scheduling.endpoint_health import EndpointHealth
from service.webhooks.scheduling.failure_log import log_turn
from service.webhooks.scheduling.fairness import InFlight, count_by_endpoint
from service.webhooks.send import Sender, count_results

logger = logging.getLogger("framehook.webhooks")

MAX_PAUSE_SECONDS: Final = 0.02


class DeliveryWorker:
    """The loop that sends outbound webhooks."""

    def __init__(
        self,
        database: Database,
        sender: Sender,
        outbox: Outbox,
        notify_disabled: Callable[[Endpoint], None],
        *,
        config: WorkerConfig | None = None,
        clock: Callable[[], float] = time.time,
        metrics: WebhookMetrics | None = None,
    ) -> None:
        """Call `notify_disabled` after each commit that disables an endpoint."""
        self._database = database
        self._sender = sender
        self._outbox = outbox
        self._notify_disabled = notify_disabled
        self._config = config or WorkerConfig()
        self._clock = clock
        self._wakeup = asyncio.Event()
        self._in_flight: dict[asyncio.Task[None], InFlight] = {}
        self._about_to_start: list[Delivery] = []
        self._health = EndpointHealth(healthy_seconds=self._config.healthy_seconds)
        self._finished: list[FinishedAttempt] = []
        self._clock_check = ClockCheck()
        self._next_at = float("inf")
        self.metrics = metrics or WebhookMetrics()
        self.metrics.in_flight.set_function(lambda: len(self._in_flight))

    @property
    def in_flight(self) -> int:
        """How many attempts this process is making now."""
        return len(self._in_flight)

    def wake(self) -> None:
        """Look for due deliveries now instead of at the next poll."""
        self._wakeup.set()

    def on_commit(self, job_ids: Collection[str]) -> None:
        """Wake if the committed changes of these jobs wrote deliveries."""
        if not self._outbox.dirty_job_ids.isdisjoint(job_ids):
            self._outbox.dirty_job_ids.difference_update(job_ids)
            self.wake()

    async def run(self) -> None:
        """Run rounds until cancelled; `stop` then releases what is in flight."""
        while True:
            self._wakeup.clear()
            start = time.monotonic()
            has_more = await self.run_round()
            # Results that arrive during the pause are recorded together. It is as long as the round was, so that the
            # database is free for others half of the time.
            await asyncio.sleep(min(time.monotonic() - start, MAX_PAUSE_SECONDS))
            if has_more:
                continue
            # Not `wait_for`: before Python 3.12 it loses a cancellation that arrives together with the result.
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause_seconds()):
                    await self._wakeup.wait()

    def _pause_seconds(self) -> float:
        """Return how long to wait: until the next poll, or until an endpoint's rate limit allows the next delivery."""
        return min(self._config.idle_seconds, max(0.0, self._next_at - self._clock()))

    async def run_round(self) -> bool:
        """Record finished attempts and start due ones; return whether there may be more."""
        await self._correct_times()
        finished = list(self._finished)
        start_before = time.monotonic() + self._config.start_within_seconds
        try:
            async with self._database.transaction() as session:
                now = self._clock()
                disabled = await deliveries.record_results(session, finished, random=random.random, now=now)
                claim = await claim_due(
                    session,
                    self._config,
                    list(self._in_flight.values()),
                    self._health,
                    listening=self._sender.listeners.endpoint_ids,
                    now=now,
                )
                # `stop` needs these: a cancellation may come right after the commit.
                self._about_to_start = [claimed.delivery for claimed in claim.deliveries]
        except (IntegrityError, DataError):  # no outage: each round would fail with the same results
            del self._finished[: len(finished)]  # their leases end, and the deliveries are sent again
            raise
        self._next_at = claim.next_at
        del self._finished[: len(finished)]  # after the commit: if it fails, the next round records them
        count_results(self.metrics, finished, claim.superseded, now=now)
        self._start_attempts(claim.deliveries, start_before)
        for endpoint in disabled:
            logger.warning("disabled endpoint %s: %s", endpoint.endpoint_id, endpoint.disabled_reason)
            self._notify_disabled(endpoint)
        return claim.has_more

    async def resume(self) -> None:
        """Make due again what an earlier process was sending; only for a service that runs alone."""
        async with self._database.transaction() as session:
            await deliveries.release_all(session, lease_seconds=self._config.lease_seconds, now=self._clock())

    async def wait_idle(self) -> None:
        """Wait until nothing is in flight."""
        while self._in_flight:
            await asyncio.wait(list(self._in_flight))

    async def stop(self) -> None:
        """Cancel what is in flight, record what has finished and make the rest due again at once."""
        started = [attempt.delivery for attempt in self._in_flight.values()] + self._about_to_start
        for task in list(self._in_flight):
            task.cancel()
        await asyncio.gather(*self._in_flight, return_exceptions=True)
        finished_ids = {attempt.delivery.delivery_id for attempt in self._finished}
        interrupted = [delivery for delivery in started if delivery.delivery_id not in finished_ids]
        async with self._database.transaction() as session:
            now = self._clock()
            await deliveries.record_results(session, self._finished, random=random.random, now=now)
            await deliveries.release_interrupted(session, interrupted, now=now)
        self._finished.clear()

    async def _correct_times(self) -> None:
        """Correct stored times that are in the future if the clock may have been set back."""
        now = self._clock()
        if is_due := self._clock_check.is_due(now):
            await correct_times(self._database, lease_seconds=self._config.lease_seconds, now=now)
        self._clock_check.record(now, checked=is_due)

    def _start_attempts(self, batch: Sequence[ClaimedDelivery], start_before: float) -> None:
        concurrent = count_by_endpoint(self._in_flight.values())
        concurrent.update(claimed.delivery.endpoint_id for claimed in batch)
        for claimed in batch:
            endpoint_id = claimed.delivery.endpoint_id
            task = asyncio.create_task(self._attempt(claimed, start_before, concurrent[endpoint_id]))
            self._in_flight[task] = InFlight(claimed.delivery, time.monotonic())
            self._health.record_start(endpoint_id)
            task.add_done_callback(self._on_attempt_done)
        self._about_to_start = []

    async def _attempt(self, claimed: ClaimedDelivery, start_before: float, concurrent: int) -> None:
        if time.monotonic() > start_before:
            return  # another replica may have sent a newer event by now; the lease ends by itself
        result = await self._sender.send(claimed, now=self._clock())
        endpoint_id = claimed.endpoint.endpoint_id
        failures = self._health.failures(endpoint_id)
        self._health.record_result(
            endpoint_id,
            delivered=result.is_delivered,
            seconds=result.seconds,
            now=self._clock(),
            in_flight=max(concurrent, count_by_endpoint(self._in_flight.values())[endpoint_id]),
            maximum=self._config.per_endpoint,
        )
        log_turn(claimed.endpoint, result, failures, self._health.failures(endpoint_id))
        attempt = FinishedAttempt(claimed.delivery, result)
        if result.is_recorded:
            count_results(self.metrics, [attempt], 0, now=self._clock())
        else:
            self._finished.append(attempt)

    def _on_attempt_done(self, task: "asyncio.Task[None]") -> None:
        delivery = self._in_flight.pop(task).delivery
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error(
                "delivery %s was not sent: %s", delivery.delivery_id, type(error).__name__, exc_info=error
            )
            result = AttemptResult(
                0.0,
                error_code="internal_error",
                error_message="The service failed to send this; the error is in its log.",
            )
            self._finished.append(FinishedAttempt(delivery, result))
        self.wake()
