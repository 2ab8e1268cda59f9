"""The attempts that this process is making, and the results that are not recorded yet."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from service.metrics.traffic import WebhookMetrics
from service.webhooks.deliveries import ClaimedDelivery, FinishedAttempt
from service.webhooks.models import Delivery
from service.webhooks.retry_policy import AttemptResult
from service.webhooks.scheduling.agenda import SUSPECT_PAUSE_SECONDS, Round
from service.webhooks.scheduling.endpoint_health import EndpointHealth
from service.webhooks.scheduling.failure_log import log_turn
from service.webhooks.scheduling.fairness import InFlight, count_by_endpoint
from service.webhooks.scheduling.ready import LIMITS
from service.webhooks.send import Sender, count_results

logger = logging.getLogger("framehook.webhooks")

SPREAD_SECONDS: Final = SUSPECT_PAUSE_SECONDS / LIMITS[Round.SUSPECTS]
"""Between the starts of attempts at unproven endpoints: each takes the event loop some time."""


class Attempts:
    """Make attempts at claimed deliveries, each in a task."""

    def __init__(
        self,
        sender: Sender,
        health: EndpointHealth,
        metrics: WebhookMetrics,
        on_end: Callable[[Delivery, FinishedAttempt | None], None],
        per_endpoint: int,
        clock: Callable[[], float],
    ) -> None:
        """Call `on_end` when an attempt has ended, with what is to be recorded, if anything."""
        self._sender = sender
        self._health = health
        self._metrics = metrics
        self._on_end = on_end
        self._per_endpoint = per_endpoint
        self._clock = clock
        self.tasks: dict[asyncio.Task[FinishedAttempt | None], InFlight] = {}
        self.finished: list[FinishedAttempt] = []
        self._last_unproven = 0.0  # when the attempt at an unproven endpoint that was claimed last begins

    @property
    def in_flight(self) -> list[InFlight]:
        """The attempts that have not ended."""
        return list(self.tasks.values())

    def start(self, batch: Sequence[ClaimedDelivery], start_before: float) -> None:
        """Start attempts, none later than `start_before`; those at unproven endpoints one each SPREAD_SECONDS."""
        concurrent = count_by_endpoint(self.tasks.values())
        concurrent.update(claimed.delivery.endpoint_id for claimed in batch)
        for claimed in batch:
            endpoint_id = claimed.delivery.endpoint_id
            start = time.monotonic()
            if not self._health.is_healthy(endpoint_id):
                start = self._last_unproven = max(start, self._last_unproven + SPREAD_SECONDS)
            task = asyncio.create_task(self._make(claimed, start, start_before, concurrent[endpoint_id]))
            self.tasks[task] = InFlight(claimed.delivery, start)
            self._health.record_start(endpoint_id)
            task.add_done_callback(self._on_done)

    def select_results(self, kind: Round) -> Sequence[FinishedAttempt]:
        """Return what a round of this kind records.

        A failure is recorded before a later success of its endpoint, or together with it.
        """
        if kind is Round.SUSPECTS:
            return ()
        succeeded = {attempt.delivery.endpoint_id for attempt in self.finished if attempt.result.is_delivered}
        is_prompt = kind is Round.PROMPT
        return [item for item in self.finished if (item.delivery.endpoint_id in succeeded) is is_prompt]

    def forget(self, recorded: Sequence[FinishedAttempt]) -> None:
        """Drop results that are recorded."""
        ids = set(map(id, recorded))
        self.finished = [attempt for attempt in self.finished if id(attempt) not in ids]

    async def wait_idle(self) -> None:
        """Wait until nothing is in flight."""
        while self.tasks:
            await asyncio.wait(list(self.tasks))

    async def cancel(self) -> None:
        """Cancel what is in flight."""
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _make(
        self, claimed: ClaimedDelivery, start: float, start_before: float, concurrent: int
    ) -> FinishedAttempt | None:
        await asyncio.sleep(start - time.monotonic())
        if time.monotonic() > start_before:
            return None  # another replica may have sent a newer event by now; the lease ends by itself
        result = await self._sender.send(claimed, now=self._clock())
        endpoint_id = claimed.endpoint.endpoint_id
        failures = self._health.failures(endpoint_id)
        self._health.record_result(
            endpoint_id,
            delivered=result.is_delivered,
            seconds=result.seconds,
            now=self._clock(),
            in_flight=max(concurrent, count_by_endpoint(self.tasks.values())[endpoint_id]),
            maximum=self._per_endpoint,
        )
        log_turn(claimed.endpoint, result, failures, self._health.failures(endpoint_id))
        attempt = FinishedAttempt(claimed.delivery, result)
        if not result.is_recorded:
            return attempt
        count_results(self._metrics, [attempt], 0, now=self._clock())
        return None

    def _on_done(self, task: "asyncio.Task[FinishedAttempt | None]") -> None:
        delivery = self.tasks.pop(task).delivery
        if task.cancelled():
            return
        if (error := task.exception()) is None:
            attempt = task.result()
        else:
            logger.error(
                "delivery %s was not sent: %s", delivery.delivery_id, type(error).__name__, exc_info=error
            )
            message = "The service failed to send this; the error is in its log."
            result = AttemptResult(0.0, error_code="internal_error", error_message=message)
            attempt = FinishedAttempt(delivery, result)
        if attempt is not None:
            self.finished.append(attempt)
        self._on_end(delivery, attempt)
