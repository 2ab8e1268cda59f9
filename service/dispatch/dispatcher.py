"""Starts pending attempts, asks after silent ones, and gives up on what is lost or late.

Each step is: claim in a transaction, call the runner outside of it, record in another. Whatever dies in between,
a lease runs out and the job goes on as its next attempt.
"""

import asyncio
import base64
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import msgspec
from pydantic import ValidationError

from callbacks.signing import derive_attempt_key
from gpu.spec import AttemptSpec, CallbackTarget, ExportType, parse_config
from infra.database.postgresql import AnyDatabase
from infra.storage import OutsideStorage, Storage, StorageError
from service.clock import Clock
from service.dispatch.attempt_failures import AttemptFailure, end_attempt, interruption
from service.dispatch.observation import Limits, Observation
from service.dispatch.runners import Failed, Finished, Refused, Runner, Running, Unknown
from service.dispatch.transfer_plan import Transfers
from service.ingest.finalizer import Outcomes, clear
from service.ingest.store import recovered
from service.jobs import leases, transitions
from service.jobs.models import Job, Status
from service.jobs.transition_sql import Charge

logger = logging.getLogger("framehook.attempts")

IDLE_SECONDS = 2.0
ASKED_AT_ONCE = 16
LATE_AT_ONCE = 100

_CONFIG_UNUSABLE = AttemptFailure(
    "config_unusable", "The export's configuration can't be used any more.", retryable=False
)
_LATE = {
    Status.PROCESSING: AttemptFailure(
        "deadline_exceeded", "The export took longer than it may.", retryable=False
    ),
    Status.PENDING: AttemptFailure(
        "never_started", "The export was not started in time; the service may lack capacity.", retryable=False
    ),
}


class Attempts:
    """The dispatcher and the watch; safe to run on every replica."""

    def __init__(
        self,
        database: AnyDatabase,
        storage: Storage,
        runner: Runner,
        outcomes: Outcomes,
        publish: Callable[[Job], None],
        *,
        transfers: Transfers,
        origin: str,
        master_key: bytes,
        limits: Limits,
        clock: Clock,
    ) -> None:
        self._database = database
        self._storage = storage
        self._transfers = transfers
        self._runner = runner
        self._outcomes = outcomes
        self._publish = publish
        self._origin = origin
        self._master_key = master_key
        self._limits = limits
        self._clock = clock
        self._observation = Observation(limits, clock.monotonic)
        self._starting: dict[asyncio.Task[None], Job] = {}
        self._cut_off: list[Job] = []  # whose start was cancelled: perhaps begun, and not recorded

    def wake(self) -> None:
        """There is something to start."""
        self._runner.freed.set()

    async def dispatch(self) -> None:
        """Start what is waiting, as places become free; a start that takes long keeps no other waiting."""
        await self._return_cut_off()
        async with asyncio.TaskGroup() as starts:
            while True:
                self._runner.freed.clear()
                await self._see_to(self._runner.ended())
                for job in await self._claimed():
                    start = starts.create_task(self._start(job))
                    self._starting[start] = job
                    start.add_done_callback(self._started)
                # Not `wait_for`: before Python 3.12 it drops a cancellation that comes together with what it waits for.
                with suppress(TimeoutError):
                    async with asyncio.timeout(IDLE_SECONDS):
                        await self._runner.freed.wait()

    async def watch(self) -> None:
        """Look after what has gone quiet, is late, or was about to be started by somebody who died."""
        while True:
            await self.look()
            await asyncio.sleep(self._limits.watch_seconds)

    async def look(self) -> None:
        """One round of the watch."""
        now = self._clock.wall()
        async with self._database.reading() as session:
            held = await leases.held(session)
        late = self._observation.find_late(held)
        async with self._database.transaction() as session:
            await leases.end_long_pauses(session, now=now)
            lapsed = await leases.unchanged(session, late.lapsed[:LATE_AT_ONCE])
            overdue = await leases.unchanged(session, late.overdue[:LATE_AT_ONCE])
            silent = await leases.lease_silent(
                session,
                late.silent[:LATE_AT_ONCE],
                lease_seconds=self._limits.silence_seconds / 2,
                now=now,
            )
        for job in lapsed:
            message = "The run could not be confirmed to have started."
            await self._fail_attempt(job, interruption(message, only_if_unstarted=True))
        await self._probe_all(overdue, self._end_overdue)
        await self._probe_all(silent, self._ask_after)

    async def resume(self) -> None:
        """At start: what an earlier life of this service was running goes on as the next attempt, at once.

        Calls that outlive the service go on, too; only what was about to be started is started anew.
        """
        async with self._database.reading() as session:
            found = await leases.left_over(session, self._runner.name, of_this_instance=self._runner.instance)
        for job in found:
            await self._fail_attempt(job, interruption("The service was restarted."))

    async def abandon(self, job: Job) -> None:
        """End the run of an attempt that is over for the row, and remove what it left in storage."""
        if job.call_id is not None:
            await self._end(job, job.call_id)
        await clear(self._storage, job)

    async def hand_over(self) -> None:
        """Before a shutdown: local runs end here, and their jobs wait for the next start, at no cost to them."""
        if not self._runner.instance:
            return
        await self._return_cut_off()
        async with self._database.reading() as session:
            ours = await leases.running_here(session, self._runner.instance)
        for job in ours:
            await self._return(job, unstarted=False)
            await self.abandon(job)

    async def _return_cut_off(self) -> None:
        """Starts that were cut off by a shutdown, or by the loop's own death, are nobody's failure."""
        while self._cut_off:
            job = self._cut_off.pop()
            # Where calls outlive the service, one that has reported goes on, and others are answered 410.
            if self._runner.instance:
                await self._end(job, self._runner.call_for(job.job_id, job.attempt))
            await self._return(job, unstarted=not self._runner.instance)

    async def _return(self, job: Job, *, unstarted: bool) -> None:
        async with self._database.transaction() as session:
            given = await transitions.give_back(
                session,
                job,
                "Waiting for the service to start again",
                charge=Charge.NOTHING,
                unstarted=unstarted,
                not_before=0,
                now=self._clock.wall(),
            )
        if given is not None:
            self._publish(given)

    async def _see_to(self, call_ids: list[str]) -> None:
        """A run that ended without saying so is not waited for."""
        if not call_ids:
            return
        async with self._database.reading() as session:
            unfinished = await leases.by_call(session, call_ids)
        await self._probe_all(unfinished, self._ask_after)

    async def _claimed(self) -> list[Job]:
        places = self._runner.places()
        free = places - len(self._starting)
        if free < max(1, places // 2):  # the search for whose turn it is pays off for several at once
            return []
        async with self._database.transaction() as session:
            return await leases.claim(
                session,
                places=free,
                per_user=self._limits.per_user,
                lease_seconds=self._limits.lease_seconds,
                now=self._clock.wall(),
            )

    async def _start(self, job: Job) -> None:
        try:
            call_id = await self._runner.spawn(await self._spec(job))
        except (ValidationError, OutsideStorage):  # written by another version, or a link that was made since
            await self._fail_attempt(job, _CONFIG_UNUSABLE)
            return
        except (StorageError, Refused) as error:
            await self._fail_attempt(job, _not_started(error))
            return
        async with self._database.transaction() as session:
            kept = await leases.spawned(session, job, call_id, now=self._clock.wall())
        if kept is None:  # cancelled between the claim and here
            await self._end(job, call_id)
        else:
            self._publish(kept)

    def _started(self, start: asyncio.Task[None]) -> None:
        job = self._starting.pop(start)
        if start.cancelled():
            self._cut_off.append(job)
        self.wake()

    async def _probe_all(self, late: Sequence[Job], probe: Callable[[Job], Awaitable[None]]) -> None:
        async def probe_in_turn(job: Job) -> None:
            async with at_once:
                await probe(job)

        at_once = asyncio.Semaphore(ASKED_AT_ONCE)
        async with asyncio.TaskGroup() as probing:
            for job in late:
                probing.create_task(probe_in_turn(job))

    async def _ask_after(self, job: Job) -> None:
        if job.call_id is None:  # the service died before it could store which call to ask about
            await self._fail_attempt(job, interruption("The run has stopped reporting."))
            return
        standing = await self._runner.probe(job.call_id)
        match standing:
            case Running() | Unknown():
                return
            case Finished():
                await self._settle(job, standing)
            case Failed(code, message, transient, interrupted):
                charge = Charge.INTERRUPTION if interrupted else Charge.FAILURE
                await self._fail_attempt(job, AttemptFailure(code, message, transient, charge))

    async def _end_overdue(self, job: Job) -> None:
        """A run that has ended in time, and could not say so, is taken as it ended."""
        standing = Unknown() if job.call_id is None else await self._runner.probe(job.call_id)
        if isinstance(standing, Finished):
            await self._settle(job, standing)
            return
        await self._fail_attempt(job, _LATE[job.status])

    async def _settle(self, job: Job, finished: Finished) -> None:
        change = recovered(job, finished.ending, finished.gpu_seconds, now=self._clock.wall())
        await self._outcomes.settle(change)

    async def _end(self, job: Job, call_id: str) -> None:
        """What can't be told to end now is told by the answer to its next callback."""
        try:
            await self._runner.cancel(call_id)
        except Refused as refused:
            logger.warning("the run could not be cancelled: %s", refused.code, extra=job.log_fields)

    async def _fail_attempt(self, job: Job, failure: AttemptFailure) -> None:
        """Give the job another attempt or end it, and end what is left of this attempt."""
        chance = random.random()  # noqa: S311 - jitter
        async with self._database.transaction() as session:
            changed = await end_attempt(session, job, failure, now=self._clock.wall(), random=chance)
        if changed is not None:
            self._publish(changed)
            await self.abandon(job)
            await self._outcomes.withdraw(changed)
            self.wake()

    async def _spec(self, job: Job) -> AttemptSpec:
        config = parse_config(ExportType(job.type), msgspec.json.decode(job.config))
        key = derive_attempt_key(self._master_key, job.job_id, job.attempt)
        return AttemptSpec(
            job_id=job.job_id,
            attempt=job.attempt,
            call_id=self._runner.call_for(job.job_id, job.attempt),
            type=ExportType(job.type),
            config=config,
            transfer=await self._transfers.plan(job, config, key),
            callback=CallbackTarget(
                url=f"{self._origin}/api/callbacks/{job.job_id}", key=base64.b64encode(key).decode()
            ),
            deadline_seconds=self._limits.deadline_seconds,
        )


def _not_started(error: StorageError | Refused) -> AttemptFailure:
    """Return the failure of an attempt that the runner refused, or that needs what the storage does not give now.

    A call that was refused may still run, and may have reported: then it is as good as any.
    """
    if isinstance(error, StorageError):
        message = "The storage can't be used now."
        return AttemptFailure(error.code, message, True, Charge.NOTHING, only_if_unstarted=True)
    charge = Charge.FAILURE if error.counted else Charge.NOTHING
    return AttemptFailure(error.code, error.message, error.transient, charge, only_if_unstarted=True)
