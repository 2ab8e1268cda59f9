"""The command line with a bug in it, to show that the suite finds it.

The one place where anything of the service is replaced: in a process of its own, and on purpose. Each bug is the
wrong order or the missing check alone; where the order matters, the disk is a little slow.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from msgspec.structs import replace as replace_struct
from sqlalchemy.ext.asyncio import AsyncSession

from infra.database.base import BatchConnection
from service.api.streaming import sse, websocket
from service.fanout.initial_states import InitialStatesReader
from service.fanout.listener import ChangeListener
from service.ingest import sql
from service.ingest.apply import apply_all
from service.ingest.batch_writer import BatchWriter
from service.ingest.changes import Applied, Change, Outcome
from service.ingest.store import pending_events
from service.jobs.ids import new_id
from service.jobs.models import Job
from service.jobs.transitions import CHANGED_JOBS
from service.webhooks import deliveries, ordering, send, signing
from service.webhooks import due_query as due
from service.webhooks.models import Delivery, Endpoint
from service.webhooks.outbox import Outbox, PendingEvents
from service.webhooks.worker import DeliveryWorker
from tests.faults.cluster import replica_entry
from tests.faults.cluster.proxy import Weather
from tests.faults.resilience_mutations import MORE_BUGS, PROVOKING
from tests.faults.schedule import Act, Schedule, Step
from tests.faults.workload.webhook_receiver import Temper

SLOW_DISK_SECONDS = 0.03
_FENCE = "AND export_jobs.attempt ="
_CALL_FENCE = re.compile(r"AND \(export_jobs\.call_id IS NULL OR export_jobs\.call_id = \S+\)")
"""Attempts have calls of their own, so this tells them apart as well, once the call is stored."""
_later: set[asyncio.Task[Outcome]] = set()


def acknowledge_before_commit() -> None:
    """The answer goes out while the change still waits."""
    committed = BatchWriter.submit

    async def at_leisure(writer: BatchWriter, change: Change) -> Outcome:
        await asyncio.sleep(SLOW_DISK_SECONDS)
        return await committed(writer, change)

    async def submit(writer: BatchWriter, change: Change) -> Outcome:
        task = asyncio.create_task(at_leisure(writer, change))
        _later.add(task)
        task.add_done_callback(_later.discard)
        return Applied(1)

    _put(BatchWriter, "submit", submit)


def ignore_attempt() -> None:
    """A callback changes the row whichever attempt it is of."""
    for name in ("TICK", "ADVANCE", "COMPLETE", "FAIL", "REQUEUE"):
        statement = getattr(sql, name)
        assert _FENCE in statement
        assert _CALL_FENCE.search(statement)
        _put(sql, name, _CALL_FENCE.sub("", re.sub(rf"{_FENCE} \S+", "", statement)))


def skip_stored_state() -> None:
    """A stream begins with the next change, not with the present state."""

    async def nothing(*_: object) -> None:
        return None

    async def no_jobs(*_: object) -> tuple[list[Job], None]:
        return [], None

    for module in (sse, websocket):
        _put(module, "read_stored", nothing)
    _put(InitialStatesReader, "_select", no_jobs)


def skip_catch_up() -> None:
    """What was changed elsewhere while the line was down is not read again."""

    async def nothing(_relay: ChangeListener) -> None:
        return

    _put(ChangeListener, "_reload_subscribed", nothing)


def publish_before_commit() -> None:
    """Readers are told first, the disk second."""

    def publish_all(writer: BatchWriter, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            if isinstance(outcome, Applied) and outcome.job is not None:
                writer._changes.publish(outcome.job)

    async def write_batch(writer: BatchWriter, changes: Sequence[Change]) -> list[Outcome]:
        async def apply(connection: BatchConnection) -> list[Outcome]:
            outcomes = await apply_all(connection, changes)
            publish_all(writer, outcomes)
            await asyncio.sleep(SLOW_DISK_SECONDS)
            connection.changed_rows.extend(pending_events(changes, outcomes).owners.items())
            return outcomes

        return await writer._database.batch(apply)

    _put(BatchWriter, "_write_batch", write_batch)


def outbox_after_commit() -> None:
    """What consumers are to be told is written down in a transaction of its own, a moment after the change."""
    owed: list[Job] = []
    write_in_session, claimed = Outbox.write_in_session, DeliveryWorker.run_round

    async def later_in_session(outbox: Outbox, session: AsyncSession) -> None:
        owe(outbox, session.info.pop(CHANGED_JOBS, ()))

    def owe(outbox: Outbox, jobs: Sequence[Job]) -> None:
        owed.extend(jobs)
        outbox.dirty_job_ids.update(job.job_id for job in jobs)

    async def write_in_batch(
        outbox: Outbox, _connection: object, _dialect: object, events: PendingEvents
    ) -> None:
        owe(outbox, events.jobs)

    async def round_(delivery_worker: DeliveryWorker) -> bool:
        due, owed[:] = list(owed), []
        if due:
            await asyncio.sleep(SLOW_DISK_SECONDS)
            async with delivery_worker._database.transaction() as session:
                session.info[CHANGED_JOBS] = due
                await write_in_session(delivery_worker._outbox, session)
        return await claimed(delivery_worker)

    _put(Outbox, "write_in_session", later_in_session)
    _put(Outbox, "write_in_batch", write_in_batch)
    _put(DeliveryWorker, "run_round", round_)


def new_id_per_attempt() -> None:
    """Whoever takes an event twice can't tell that it is the same."""
    signed = signing.build_headers

    def build_headers(endpoint: Endpoint, delivery: Delivery, *, now: float) -> dict[str, str]:
        again = delivery.attempts > 1
        return signed(
            endpoint, replace_struct(delivery, delivery_id=new_id(now)) if again else delivery, now=now
        )

    _put(send, "build_headers", build_headers)


def send_older_after_newer() -> None:
    """An event waits for nothing, and what newer ones have overtaken is still sent."""

    async def nothing(*_: object, **__: object) -> set[str]:
        return set()

    rule = ordering.is_blocked
    _put(due, "is_blocked", lambda *_: "(1 = 0)")
    _put(deliveries, "is_blocked", lambda *names: f"({rule(*names)} AND 1 = 0)")
    _put(deliveries, "supersede_stale", nothing)


BUGS: dict[str, Callable[[], None]] = {
    bug.__name__.replace("_", "-"): bug
    for bug in (
        acknowledge_before_commit,
        ignore_attempt,
        skip_stored_state,
        skip_catch_up,
        publish_before_commit,
        outbox_after_commit,
        new_id_per_attempt,
        send_older_after_newer,
        *MORE_BUGS,
    )
}
POSTGRESQL_ONLY = ("skip-catch-up", "keep-leases-of-the-dead")


def provoked(bug: str, schedule: Schedule) -> Schedule:
    """A schedule with more of what brings a bug out."""
    more: list[Step] = []
    if bug == "ignore-attempt":
        # Again and again: a run has to report before it is cancelled, and machines differ.
        for moment in (1.5, 2.5, 4.0, 6.0):
            more += [Step(moment, Act.CANCEL, index) for index in range(schedule.jobs)]
            more += [Step(moment + 0.1, Act.RETRY, index) for index in range(schedule.jobs)]
        weather = Weather(late=50, seconds=1.0)
        return replace(schedule, steps=(*schedule.steps, *more), weather=weather)
    if bug == "skip-catch-up":
        more = [Step(0.4 * number, Act.LINES) for number in range(10)]
        return replace(schedule, steps=(*schedule.steps, *more))
    if bug == "outbox-after-commit":
        more = [Step(0.3 + 0.35 * number, Act.KILL, number, seconds=0.1) for number in range(10)]
        return replace(schedule, steps=(*schedule.steps, *more))
    if bug in ("new-id-per-attempt", "send-older-after-newer"):
        # Longer than the first pause of the schedule, so that what has failed is sent again within it.
        more = [Step(10.0, Act.CUT)]
        return replace(schedule, steps=(*schedule.steps, *more), temper=Temper(failing=60))
    if bug in PROVOKING:
        temper = Temper(failing=60 if bug == "wait-for-that-day" else 0)
        return replace(schedule, steps=PROVOKING[bug], weather=Weather(), temper=temper)
    return schedule


def _put(where: object, name: str, value: object) -> None:
    assert hasattr(where, name)
    setattr(where, name, value)


def serve(words: list[str]) -> None:
    """`BUG serve …`."""
    bug, *others = words
    BUGS[bug]()
    replica_entry.serve(others)
