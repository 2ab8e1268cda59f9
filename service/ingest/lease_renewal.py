"""Renew the leases of the outputs that this process verifies and publishes.

A lease is short, so that another replica soon continues the work of one that crashed. It is renewed several times
within its length; if the database is unavailable, the work continues until the lease runs out.
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
    """The work under a lease was stopped before its end."""


class LeaseLost(FinalizationStopped):
    """Another finalizer has the lease, or may have it."""


class FinalizationTooLong(FinalizationStopped):
    """The work took longer than its limit."""


@dataclass
class FinalizeLease:
    """A lease of this process, with times of the monotonic clock.

    After `valid_until` others may take it; each renewal moves it. After `deadline` the work is stopped.
    """

    job_id: str
    finalizer: str
    valid_until: float
    deadline: float
    stopped: FinalizationStopped | None = None
    scope: asyncio.Timeout | None = None

    def stop(self, reason: FinalizationStopped) -> None:
        """Stop the work under the lease."""
        if self.scope is not None and self.stopped is None:
            self.stopped = reason
            self.scope.reschedule(asyncio.get_running_loop().time())


class LeaseRenewal:
    """The leases of this process, which one loop renews."""

    def __init__(
        self, database: Database, *, lease_seconds: float, limit_seconds: float, clock: Clock
    ) -> None:
        """Renew leases of `lease_seconds`; the work under a lease may take `limit_seconds`."""
        self.lease_seconds = lease_seconds
        self._limit_seconds = limit_seconds
        self._database = database
        self._clock = clock
        self._leases: dict[str, FinalizeLease] = {}  # by finalizer

    def prepare(self, job_id: str) -> FinalizeLease:
        """Return a lease that the caller will acquire; its time starts now."""
        now = self._clock.monotonic()
        return FinalizeLease(
            job_id, secrets.token_hex(16), now + self.lease_seconds, now + self._limit_seconds
        )

    @asynccontextmanager
    async def keep(self, lease: FinalizeLease) -> AsyncIterator[None]:
        """Renew an acquired lease until the end of the block; FinalizationStopped ends the block early."""
        try:
            async with asyncio.timeout(None) as lease.scope:
                self._leases[lease.finalizer] = lease
                try:
                    yield
                finally:
                    del self._leases[lease.finalizer]
        except TimeoutError:
            if lease.stopped is None:
                raise
            raise lease.stopped from None
        finally:
            lease.scope = None

    def require_valid(self, lease: FinalizeLease) -> None:
        """Raise LeaseLost if the lease has run out: the process may have been suspended."""
        if self._clock.monotonic() >= lease.valid_until:
            raise LeaseLost

    async def run(self) -> None:
        """Renew the leases regularly, until cancelled."""
        while True:
            await self.renew()
            await asyncio.sleep(self._interval_seconds)

    async def renew(self) -> None:
        """Renew all leases once, and stop the work whose lease or time is over."""
        leases = dict(self._leases)
        if not leases:
            return
        started_at = self._clock.monotonic()
        renewed = await self._renew_all(leases)
        for finalizer, lease in leases.items():
            if renewed is None:
                continue
            if finalizer in renewed:
                lease.valid_until = started_at + self.lease_seconds
            else:
                lease.stop(LeaseLost())
        self._stop_expired()

    def _stop_expired(self) -> None:
        now = self._clock.monotonic()
        for lease in self._leases.values():
            if now >= lease.deadline:
                lease.stop(FinalizationTooLong())
            elif now >= lease.valid_until:
                lease.stop(LeaseLost())

    async def _renew_all(self, leases: Mapping[str, FinalizeLease]) -> set[str] | None:
        """Return the finalizers that still have their leases; None if the database is unavailable."""
        jobs = {finalizer: lease.job_id for finalizer, lease in leases.items()}
        try:
            async with asyncio.timeout(self._interval_seconds), self._database.transaction() as session:
                return await finalize_leases.renew(
                    session, jobs, lease_seconds=self.lease_seconds, now=self._clock.wall()
                )
        except DATABASE_ERRORS as error:
            logger.warning("the leases of outputs could not be renewed: %s", type(error).__name__)
            return None

    @property
    def _interval_seconds(self) -> float:
        return self.lease_seconds / RENEWALS_PER_LEASE
