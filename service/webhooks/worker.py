"""Sends what the outbox holds: claims in batches, sends side by side, records in batches.

An attempt is in the log before it is sent and its lease outlives every exchange, so whatever dies in between, it is
made again with the same `webhook-id`: at least once. Safe to run on every replica.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.database.postgresql import Database
from infra.egress import EgressClient
from service.webhooks import deliveries, endpoints
from service.webhooks.clock_steps import ClockCheck, correct_times
from service.webhooks.deliveries import ClaimedDelivery, FinishedAttempt
from service.webhooks.due_query import select_due
from service.webhooks.endpoint_health import HEALTHY_SECONDS, EndpointHealth
from service.webhooks.models import Delivery, Endpoint
from service.webhooks.outbox import Outbox
from service.webhooks.retry_policy import AttemptResult
from service.webhooks.selection import InFlight, count_by_endpoint, select_deliveries
from service.webhooks.send import DeliveryMetrics, send_delivery

logger = logging.getLogger("framehook.webhooks")

LONGEST_PAUSE_SECONDS = 0.02
_CLAIMS = 5_211_867_730
"""PostgreSQL's lock for whoever is claiming: what one replica has just taken, the next one sees."""


@dataclass(frozen=True)
class WorkerConfig:
    """How many at once, in this process; how long an attempt is nobody else's; how often to look unasked.

    An answer within `healthy_seconds` holds up nobody.
    """

    places: int = 128
    per_endpoint: int = 8
    lease_seconds: float = 60.0
    idle_seconds: float = 1.0
    healthy_seconds: float = HEALTHY_SECONDS

    @property
    def begun_within_seconds(self) -> float:
        """An attempt that is begun later, by a process that stood still, might reach into somebody else's lease."""
        return self.lease_seconds / 2


@dataclass(frozen=True)
class _Taken:
    """What a round has taken from the outbox."""

    claimed: Sequence[ClaimedDelivery] = ()
    superseded: int = 0
    more: bool = False


class DeliveryWorker:
    """The loop behind outbound webhooks."""

    def __init__(
        self,
        database: Database,
        egress: EgressClient,
        outbox: Outbox,
        tell: Callable[[Endpoint], None],
        *,
        pace: WorkerConfig | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`tell` is given every endpoint that is disabled for what it answers, after the commit."""
        self._database = database
        self._egress = egress
        self._outbox = outbox
        self._tell = tell
        self._pace = pace or WorkerConfig()
        self._clock = clock
        self._awake = asyncio.Event()
        self._in_flight: dict[asyncio.Task[None], InFlight] = {}
        self._about_to_begin: list[Delivery] = []
        self._acquaintance = EndpointHealth(brisk_seconds=self._pace.healthy_seconds)
        self._finished: list[FinishedAttempt] = []
        self._clock_check = ClockCheck()
        self.metrics = DeliveryMetrics()

    @property
    def in_flight(self) -> int:
        """How many attempts this process is making now."""
        return len(self._in_flight)

    def wake(self) -> None:
        """There is, or may be, something to send."""
        self._awake.set()

    def on_commit(self, job_ids: Collection[str]) -> None:
        """Changes of these jobs are committed: look, if the outbox had a part in it."""
        if not self._outbox.dirty_job_ids.isdisjoint(job_ids):
            self._outbox.dirty_job_ids.difference_update(job_ids)
            self.wake()

    async def run(self) -> None:
        """Round after round, until cancelled: what is under way then is left to the next start."""
        while True:
            self._awake.clear()
            began = time.monotonic()
            more = await self.run_round()
            # What comes back meanwhile is recorded together, and the database is others' for as long as it was ours.
            await asyncio.sleep(min(time.monotonic() - began, LONGEST_PAUSE_SECONDS))
            if more:
                continue
            # Not `wait_for`: before Python 3.12 it drops a cancellation that comes together with what it waits for.
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pace.idle_seconds):
                    await self._awake.wait()

    async def run_round(self) -> bool:
        """Record what has come back, and begin what is due; whether there may be more to do at once."""
        await self._correct_times()
        finished = list(self._finished)
        last_moment = time.monotonic() + self._pace.begun_within_seconds
        async with self._database.transaction() as session:
            now = self._clock()
            disabled = await deliveries.record_results(session, finished, random=random.random, now=now)
            taken = await self._taken(session, now)
            self._about_to_begin = [
                one.delivery for one in taken.claimed
            ]  # a cancellation may follow the commit
        del self._finished[: len(finished)]  # only now: what could not be recorded is recorded next time
        self.metrics.count(finished, taken.superseded, now=now)
        self._begin(taken.claimed, last_moment)
        for endpoint in disabled:
            logger.warning("endpoint %s is disabled: %s", endpoint.endpoint_id, endpoint.disabled_reason)
            self._tell(endpoint)
        return taken.more

    async def resume(self) -> None:
        """At the start of a service that is alone: what an earlier life of it was sending is due again, at once."""
        async with self._database.transaction() as session:
            await deliveries.release_all(session, now=self._clock())

    async def idle(self) -> None:
        """Wait until nothing is under way, for tests and shutdowns."""
        while self._in_flight:
            await asyncio.wait(list(self._in_flight))

    async def stop(self) -> None:
        """Record what has come back, and give up what has not: somebody makes those attempts again, at once."""
        begun = [one.delivery for one in self._in_flight.values()] + self._about_to_begin
        for attempt in list(self._in_flight):
            attempt.cancel()
        await asyncio.gather(*self._in_flight, return_exceptions=True)
        done = {one.delivery.delivery_id for one in self._finished}
        async with self._database.transaction() as session:
            now = self._clock()
            await deliveries.record_results(session, self._finished, random=random.random, now=now)
            unknown = [one for one in begun if one.delivery_id not in done]
            await deliveries.release_mark_interrupted(session, unknown, now=now)
        self._finished.clear()

    async def _correct_times(self) -> None:
        """Where the clock may have been ahead, let nothing wait for what it showed then."""
        now = self._clock()
        if is_due := self._clock_check.is_due(now):
            await correct_times(self._database, lease_seconds=self._pace.lease_seconds, now=now)
        self._clock_check.record(now, checked=is_due)

    async def _taken(self, session: AsyncSession, now: float) -> "_Taken":
        if len(self._in_flight) >= self._pace.places:
            return _Taken()
        await _one_claims(session)
        here = [one.delivery.delivery_id for one in self._in_flight.values()]
        found = await select_due(session, each=self._pace.per_endpoint, in_flight_here=here, now=now)
        dead = [one.endpoint_id for one in found if not one.enabled]
        given_up = bool(dead) and await endpoints.fail_pending(session, dead, now=now)
        ids = select_deliveries(
            [one for one in found if one.enabled],
            list(self._in_flight.values()),
            self._acquaintance,
            total=self._pace.places,
            per_endpoint=self._pace.per_endpoint,
            now=now,
        )
        if not ids:
            return _Taken(more=given_up)
        superseded = await deliveries.supersede_stale(session, ids, now=now)
        kept = [one for one in ids if one not in superseded]
        claimed = await deliveries.claim(
            session, kept, lease_seconds=self._pace.lease_seconds, now=now, in_flight_here=here
        )
        return _Taken(claimed, len(superseded), more=given_up or bool(superseded))

    def _begin(self, claimed: Sequence[ClaimedDelivery], last_moment: float) -> None:
        together = count_by_endpoint(self._in_flight.values())
        together.update(one.delivery.endpoint_id for one in claimed)
        for one in claimed:
            attempt = asyncio.create_task(self._attempt(one, last_moment, together[one.delivery.endpoint_id]))
            self._in_flight[attempt] = InFlight(one.delivery, time.monotonic())
            self._acquaintance.begun(one.delivery.endpoint_id)
            attempt.add_done_callback(self._ended)
        self._about_to_begin = []

    async def _attempt(self, claimed: ClaimedDelivery, last_moment: float, together: int) -> None:
        if time.monotonic() > last_moment:
            return  # whoever comes next may have sent newer news by now
        result = await send_delivery(self._egress, claimed, now=self._clock())
        self._acquaintance.ended(
            claimed.endpoint.endpoint_id,
            delivered=result.is_delivered,
            seconds=result.seconds,
            now=self._clock(),
            in_flight=max(together, self._count_in_flight(claimed.endpoint.endpoint_id)),
            maximum=self._pace.per_endpoint,
        )
        self._finished.append(FinishedAttempt(claimed.delivery, result))

    def _count_in_flight(self, endpoint_id: str) -> int:
        return count_by_endpoint(self._in_flight.values())[endpoint_id]

    def _ended(self, attempt: "asyncio.Task[None]") -> None:
        delivery = self._in_flight.pop(attempt).delivery
        if not attempt.cancelled() and (error := attempt.exception()) is not None:
            logger.error("delivery %s: %s", delivery.delivery_id, type(error).__name__, exc_info=error)
            result = AttemptResult(
                0.0, error_code="internal_error", error_message="The service failed to send this."
            )
            self._finished.append(FinishedAttempt(delivery, result))
        self.wake()


async def _one_claims(session: AsyncSession) -> None:
    """Two that claim at once could take two states of one export, and send them in any order."""
    if session.get_bind().dialect.name == "postgresql":
        await session.execute(select(func.pg_advisory_xact_lock(_CLAIMS)))
