"""Keeps the leases of the outputs that this process verifies and publishes, while it does so and no longer.

A lease is short, so that another replica soon goes on with what one that died was doing. It is renewed several times
within its length; where that fails because the database is away, the work goes on for as long as the lease lasts.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from infra.database.base import Database
from infra.database.errors import DATABASE_ERRORS
from service.clock import Clock
from service.jobs import finalize_leases

logger = logging.getLogger("framehook.outcomes")

RENEWALS_PER_LEASE = 3


class FinalizationStopped(Exception):
    """The work under a lease was ended before it was done."""


class LeaseLost(FinalizationStopped):
    """Somebody else has the lease by now, or may have it."""


class FinalizationTooLong(FinalizationStopped):
    """The work took longer than it may."""


@dataclass
class FinalizeLease:
    """A lease as its holder sees it; both times are of the monotonic clock.

    `valid_until` is when others may take it; it moves with each renewal. `deadline` is when the work has to be done.
    """

    job_id: str
    finalizer: str
    valid_until: float
    deadline: float
    stopped: FinalizationStopped | None = None
    scope: asyncio.Timeout | None = None

    def stop(self, reason: FinalizationStopped) -> None:
        """End the work under the lease."""
        if self.scope is not None and self.stopped is None:
            self.stopped = reason
            self.scope.reschedule(asyncio.get_running_loop().time())


class LeaseRenewal:
    """All leases of this process, renewed by one loop."""

    def __init__(
        self, database: Database, *, lease_seconds: float, limit_seconds: float, clock: Clock
    ) -> None:
        """`limit_seconds`: how long the work under one lease may take in all."""
        self.lease_seconds = lease_seconds
        self._limit_seconds = limit_seconds
        self._database = database
        self._clock = clock
        self._held: dict[str, FinalizeLease] = {}  # by finalizer

    def prepare(self, job_id: str) -> FinalizeLease:
        """Return a lease that is about to be acquired: its time counts from here."""
        now = self._clock.monotonic()
        return FinalizeLease(
            job_id, secrets.token_hex(16), now + self.lease_seconds, now + self._limit_seconds
        )

    @asynccontextmanager
    async def keep(self, lease: FinalizeLease) -> AsyncIterator[None]:
        """Renew an acquired lease until the end of the block; FinalizationStopped ends the block early."""
        try:
            async with asyncio.timeout(None) as lease.scope:
                self._held[lease.finalizer] = lease
                try:
                    yield
                finally:
                    del self._held[lease.finalizer]
        except TimeoutError:
            if lease.stopped is None:
                raise
            raise lease.stopped from None
        finally:
            lease.scope = None

    def require_valid(self, lease: FinalizeLease) -> None:
        """Raise LeaseLost if the lease has run out: this process may have stood still since the last round."""
        if self._clock.monotonic() >= lease.valid_until:
            raise LeaseLost

    async def run(self) -> None:
        """Renew round after round, until cancelled."""
        while True:
            await self.renew()
            await asyncio.sleep(self._interval_seconds)

    async def renew(self) -> None:
        """One round: renew what is held, and stop the work whose lease or time is over."""
        held = dict(self._held)
        if not held:
            return
        begun = self._clock.monotonic()
        renewed = await self._renewed(held)
        for finalizer, lease in held.items():
            if renewed is None:
                continue
            if finalizer in renewed:
                lease.valid_until = begun + self.lease_seconds
            else:
                lease.stop(LeaseLost())
        self._stop_expired()

    def _stop_expired(self) -> None:
        now = self._clock.monotonic()
        for lease in self._held.values():
            if now >= lease.deadline:
                lease.stop(FinalizationTooLong())
            elif now >= lease.valid_until:
                lease.stop(LeaseLost())

    async def _renewed(self, held: Mapping[str, FinalizeLease]) -> set[str] | None:
        """Return the finalizers that still have their leases; None if the database can't be asked now."""
        jobs = {finalizer: lease.job_id for finalizer, lease in held.items()}
        try:
            async with asyncio.timeout(self._interval_seconds), self._database.transaction() as session:
                return await finalize_leases.renew(
                    session, jobs, lease_seconds=self.lease_seconds, now=self._clock.wall()
                )
        except DATABASE_ERRORS as error:
            logger.warning("the leases of outputs could not be renewed now: %s", type(error).__name__)
            return None

    @property
    def _interval_seconds(self) -> float:
        return self.lease_seconds / RENEWALS_PER_LEASE
