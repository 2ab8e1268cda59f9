"""Send due deliveries: claim in batches, send concurrently, record in batches.

There are rounds of four kinds (`scheduling.agenda`), one at a time: what belongs to endpoints that are new or fail
waits, so that it delays the others little. A round looks at the endpoints that are known to be ready
(`scheduling.ready`); a scan finds the rest.

An attempt is logged before it is sent, and its lease outlives every request. So if the process dies at any point, the
delivery is sent again with the same `webhook-id`: at least once. Every replica may run a worker.
"""

import asyncio
import logging
import random
import sys
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from sqlalchemy.exc import DataError, IntegrityError

from infra.database.base import Database
from service.clock import ClockCheck
from service.metrics.traffic import WebhookMetrics
from service.webhooks import deliveries
from service.webhooks.clock_steps import correct_times
from service.webhooks.deliveries import FinishedAttempt
from service.webhooks.models import Delivery, Endpoint
from service.webhooks.outbox import Outbox
from service.webhooks.scheduling.agenda import Agenda, Round
from service.webhooks.scheduling.attempts import Attempts
from service.webhooks.scheduling.claims import Claim, WorkerConfig, claim_due
from service.webhooks.scheduling.due_query import find_ready
from service.webhooks.scheduling.endpoint_health import EndpointHealth
from service.webhooks.scheduling.fairness import Occupancy
from service.webhooks.scheduling.ready import LIMITS, ReadyEndpoints
from service.webhooks.send import Sender, count_results

logger = logging.getLogger("framehook.webhooks")


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
        self._scan_wakeup = asyncio.Event()
        self._about_to_start: list[Delivery] = []
        self._health = EndpointHealth(healthy_seconds=self._config.healthy_seconds)
        self._ready = ReadyEndpoints(self._health)
        self._agenda = Agenda()
        self._clock_check = ClockCheck()
        self.metrics = metrics or WebhookMetrics()
        each = self._config.per_endpoint
        self._attempts = Attempts(sender, self._health, self.metrics, self._on_attempt_end, each, clock)
        self.metrics.in_flight.set_function(lambda: len(self._attempts.in_flight))

    @property
    def in_flight(self) -> int:
        """How many attempts this process is making now."""
        return len(self._attempts.in_flight)

    def wake(self) -> None:
        """Look for due deliveries of all endpoints now instead of at the next scan."""
        self._scan_wakeup.set()

    def on_commit(self, job_ids: Collection[str]) -> None:
        """Serve the endpoints that the committed changes of these jobs wrote deliveries for."""
        written = self._outbox.written
        for job_id in written.keys() & job_ids:
            self._add_ready(written.pop(job_id))

    async def run(self) -> None:
        """Make rounds until cancelled; `stop` then releases what is in flight."""
        await self._find_ready()
        for kind in Round:
            self._agenda.request(kind, time.monotonic())
        while True:
            self._wakeup.clear()
            start = time.monotonic()
            if (due := self._agenda.take_due(start)) is not None:
                await self.run_kind(due)
                continue
            # Not `wait_for`: before Python 3.12 it loses a cancellation that arrives together with the result.
            with suppress(TimeoutError):
                async with asyncio.timeout(min(self._config.idle_seconds, self._agenda.seconds_left(start))):
                    await self._wakeup.wait()

    async def scan(self) -> None:
        """Find endpoints with due deliveries, once a second and when woken, until cancelled."""
        while True:
            self._scan_wakeup.clear()
            start = time.monotonic()
            await self._find_ready()
            await asyncio.sleep(time.monotonic() - start)  # at most half of the time
            with suppress(TimeoutError):
                async with asyncio.timeout(self._config.idle_seconds):
                    await self._scan_wakeup.wait()

    async def run_kind(self, kind: Round) -> None:
        """Make a round of one kind, if there is anything to do."""
        start = time.monotonic()
        finished = self._attempts.select_results(kind)
        self._ready.add(attempt.delivery.endpoint_id for attempt in finished)
        endpoint_ids = self._ready.take(kind, self._measure_occupancy(), now=self._clock())
        if not finished and not endpoint_ids:
            return
        await self._run_round(finished, endpoint_ids)
        self._agenda.record_round(kind, start, time.monotonic())
        if finished or len(endpoint_ids) == LIMITS[kind]:
            self._request_rounds(time.monotonic())  # what waits for a slot goes on with a result

    async def run_round(self) -> bool:
        """Record all that has finished and start all that is due; return whether there may be more."""
        await self._find_ready()
        finished, occupancy, now = tuple(self._attempts.finished), self._measure_occupancy(), self._clock()
        self._ready.add(attempt.delivery.endpoint_id for attempt in finished)
        endpoint_ids = [
            endpoint_id
            for kind in Round
            for endpoint_id in self._ready.take(kind, occupancy, now=now, limit=sys.maxsize)
        ]
        return await self._run_round(finished, endpoint_ids)

    async def _run_round(self, finished: Sequence[FinishedAttempt], endpoint_ids: Sequence[str]) -> bool:
        """Record results, and start what is due for these endpoints."""
        start_before = time.monotonic() + self._config.start_within_seconds
        try:
            async with self._database.transaction(is_short=True) as session:
                now = self._clock()
                disabled = await deliveries.record_results(session, finished, random=random.random, now=now)
                claim = await claim_due(
                    session,
                    self._config,
                    self._attempts.in_flight,
                    self._health,
                    endpoint_ids=endpoint_ids,
                    listening=self._sender.listeners.endpoint_ids,
                    now=now,
                )
                # `stop` needs these: a cancellation may come right after the commit.
                self._about_to_start = [claimed.delivery for claimed in claim.deliveries]
        except (IntegrityError, DataError):  # no outage: each round would fail with the same results
            self._attempts.forget(finished)  # their leases end, and the deliveries are sent again
            raise
        self._attempts.forget(finished)  # after the commit: if it fails, the next round records them
        count_results(self.metrics, finished, claim.superseded, now=now)
        self._attempts.start(claim.deliveries, start_before)
        self._about_to_start = []
        self._note_left(claim)
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
        await self._attempts.wait_idle()

    async def stop(self) -> None:
        """Cancel what is in flight, record what has finished and make the rest due again at once."""
        started = [attempt.delivery for attempt in self._attempts.in_flight] + self._about_to_start
        await self._attempts.cancel()
        finished_ids = {attempt.delivery.delivery_id for attempt in self._attempts.finished}
        interrupted = [delivery for delivery in started if delivery.delivery_id not in finished_ids]
        async with self._database.transaction() as session:
            now = self._clock()
            await deliveries.record_results(session, self._attempts.finished, random=random.random, now=now)
            await deliveries.release_interrupted(session, interrupted, now=now)
        self._attempts.finished.clear()

    async def _find_ready(self) -> None:
        """Find the endpoints that have due deliveries."""
        await self._correct_times()
        async with self._database.reading() as session:
            listening = self._sender.listeners.endpoint_ids
            self._add_ready(await find_ready(session, now=self._clock(), listening=listening))

    async def _correct_times(self) -> None:
        """Correct stored times that are in the future if the clock may have been set back."""
        now = self._clock()
        if is_due := self._clock_check.is_due(now):
            await correct_times(self._database, lease_seconds=self._config.lease_seconds, now=now)
        self._clock_check.record(now, checked=is_due)

    def _add_ready(self, endpoint_ids: Collection[str]) -> None:
        self._ready.add(endpoint_ids)
        self._request_rounds(time.monotonic())

    def _request_rounds(self, at: float) -> None:
        """Ask for rounds for all endpoints that are ready."""
        for kind in self._ready.kinds:
            self._agenda.request(kind, at)
        self._wakeup.set()

    def _note_left(self, claim: Claim) -> None:
        """Keep the endpoints that have more that is due, and ask for the rounds that they can go on in."""
        self._ready.add(claim.left)
        if claim.has_more:
            self._request_rounds(time.monotonic())
        if claim.paced:
            self._ready.delay(claim.paced)
            at = time.monotonic() + max(0.0, min(claim.paced.values()) - self._clock())
            for kind in (Round.PROMPT, Round.NEW, Round.SUSPECTS):
                self._agenda.request(kind, at)

    def _measure_occupancy(self) -> Occupancy:
        total, each = self._config.max_in_flight, self._config.per_endpoint
        return Occupancy.measure(self._attempts.in_flight, self._health, total=total, per_endpoint=each)

    def _on_attempt_end(self, delivery: Delivery, finished: FinishedAttempt | None) -> None:
        now = time.monotonic()
        if finished is None:
            self._add_ready((delivery.endpoint_id,))
        elif finished.result.is_delivered:
            self._agenda.request_gathered(now)
        else:
            self._agenda.request(Round.RESULTS, now)
        self._wakeup.set()
