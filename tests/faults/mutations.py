"""The command line with one mutation, to show that the suite catches it.

The only place where code of the service is replaced: deliberately, in a process of its own. Each mutation only changes
an order or leaves out a check; where the order matters, the disk is made a little slow.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from msgspec.structs import replace as replace_struct
from sqlalchemy.ext.asyncio import AsyncSession

from infra.database.base import BatchConnection, to_json_array
from service.api.streaming import subscriptions
from service.fanout.initial_states import InitialStatesReader
from service.fanout.notification_channel import NotificationChannel
from service.fanout.publications import Publication, publication_of
from service.ingest import sql, store
from service.ingest.apply import apply_all
from service.ingest.batch_writer import BatchWriter
from service.ingest.changes import Applied, Change, Outcome
from service.ingest.store import pending_events
from service.jobs import transition_sql
from service.jobs.ids import new_id
from service.jobs.models import Job
from service.jobs.serializers import JobSerializer
from service.jobs.transitions import CHANGED_JOBS, to_job
from service.webhooks import deliveries, delivery_statements, ordering, send
from service.webhooks.models import Delivery, Endpoint
from service.webhooks.outbox import Outbox, PendingEvents
from service.webhooks.rehearsal.faults import build_test_message
from service.webhooks.scheduling import due_query as due
from service.webhooks.signing import Message
from service.webhooks.worker import DeliveryWorker
from tests.faults.cluster import replica_entry
from tests.faults.cluster.proxy import NetworkFaults
from tests.faults.removal_mutations import NIGHTS, REMOVAL_MUTATIONS, REMOVAL_STEPS
from tests.faults.resilience_mutations import PROVOKING_STEPS, RESILIENCE_MUTATIONS
from tests.faults.schedule import Action, Schedule, Step
from tests.faults.workload.webhook_receiver import ReceiverBehavior

SLOW_DISK_SECONDS = 0.03
_FENCE = "AND export_jobs.attempt ="
_CALL_FENCE = re.compile(r"AND \(export_jobs\.call_id IS NULL OR export_jobs\.call_id = \S+\)")
"""Attempts have calls of their own, so this tells them apart as well, once the call is stored."""
_later: set[asyncio.Task[Outcome]] = set()


def acknowledge_before_commit() -> None:
    """Answer a callback before its change is committed."""
    submit_original = BatchWriter.submit

    async def submit_later(writer: BatchWriter, change: Change) -> Outcome:
        await asyncio.sleep(SLOW_DISK_SECONDS)
        return await submit_original(writer, change)

    async def submit(writer: BatchWriter, change: Change) -> Outcome:
        task = asyncio.create_task(submit_later(writer, change))
        _later.add(task)
        task.add_done_callback(_later.discard)
        return Applied(1)

    _replace(BatchWriter, "submit", submit)


def ignore_attempt() -> None:
    """Let a callback change the row of any attempt."""
    for name in ("TICK", "QUIET_TICK", "ADVANCE", "COMPLETE", "FAIL", "REQUEUE"):
        statement = getattr(sql, name)
        assert _FENCE in statement
        assert _CALL_FENCE.search(statement)
        _replace(sql, name, _CALL_FENCE.sub("", re.sub(rf"{_FENCE} \S+", "", statement)))


def skip_stored_state() -> None:
    """Begin a stream with the next change instead of the present state."""

    def publication_of_nothing(view: JobSerializer, job: Job) -> Publication:
        return replace(publication_of(view, job), sequence=0)

    async def no_jobs(*_: object) -> tuple[list[Job], None]:
        return [], None

    _replace(subscriptions, "publication_of", publication_of_nothing)
    _replace(InitialStatesReader, "_select", no_jobs)


def skip_catch_up() -> None:
    """Do not read what other replicas changed while the notification channel was disconnected."""

    async def nothing(_channel: NotificationChannel) -> None:
        return

    _replace(NotificationChannel, "_reload_subscribed", nothing)


def publish_before_commit() -> None:
    """Publish to readers before the commit: quiet ticks, and all other changes."""

    def publish_all(writer: BatchWriter, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            if isinstance(outcome, Applied) and outcome.job is not None:
                writer._changes.publish(outcome.job)

    async def write_ticks(writer: BatchWriter, changes: Sequence[Change]) -> Sequence[Outcome | None]:
        ticks = {change.report.job_id: change.report for change in changes if change.is_tick}
        statement = transition_sql.select_by_ids(writer._database.dialect)
        rows = await writer._database.fetch(statement, {"jobs": to_json_array(ticks)}) if ticks else []
        for job in map(to_job, rows):
            report = ticks[job.job_id]
            if (job.attempt, job.run, job.phase) == (report.attempt, report.run, report.phase):
                writer._changes.publish(
                    replace_struct(
                        job, sequence=job.sequence + 1, progress=max(job.progress, report.progress)
                    )
                )
        await asyncio.sleep(SLOW_DISK_SECONDS if ticks else 0.0)
        return await store.write_ticks(writer._database, changes)

    async def write_batch(writer: BatchWriter, changes: Sequence[Change]) -> list[Outcome]:
        async def apply(connection: BatchConnection) -> list[Outcome]:
            outcomes = await apply_all(connection, changes)
            publish_all(writer, outcomes)
            await asyncio.sleep(SLOW_DISK_SECONDS)
            connection.changed_rows.extend(pending_events(changes, outcomes).owners.items())
            return outcomes

        return await writer._database.batch(apply)

    _replace(BatchWriter, "_write_ticks", write_ticks)
    _replace(BatchWriter, "_write_batch", write_batch)


def outbox_after_commit() -> None:
    """Write the outbox in a transaction of its own, shortly after the change."""
    owed: list[Job] = []
    write_in_session, find_original = Outbox.write_in_session, DeliveryWorker._find_ready

    async def later_in_session(_outbox: Outbox, session: AsyncSession) -> None:
        owe(session.info.pop(CHANGED_JOBS, ()))

    def owe(jobs: Sequence[Job]) -> None:
        owed.extend(jobs)

    async def write_in_batch(
        _outbox: Outbox, _connection: object, _dialect: object, events: PendingEvents
    ) -> None:
        owe(events.jobs)

    async def find_ready(delivery_worker: DeliveryWorker) -> None:
        due, owed[:] = list(owed), []
        if due:
            await asyncio.sleep(SLOW_DISK_SECONDS)
            async with delivery_worker._database.transaction() as session:
                session.info[CHANGED_JOBS] = due
                await write_in_session(delivery_worker._outbox, session)
        await find_original(delivery_worker)

    _replace(Outbox, "write_in_session", later_in_session)
    _replace(Outbox, "write_in_batch", write_in_batch)
    _replace(DeliveryWorker, "_find_ready", find_ready)


def new_id_per_attempt() -> None:
    """Send each attempt of a delivery under a new id."""
    build_original = build_test_message

    def build_message(endpoint: Endpoint, delivery: Delivery, *, now: float) -> Message:
        again = delivery.attempts > 1
        return build_original(
            endpoint, replace_struct(delivery, delivery_id=new_id(now)) if again else delivery, now=now
        )

    _replace(send, "build_test_message", build_message)


def send_older_after_newer() -> None:
    """Send events without regard to their order."""

    async def nothing(*_: object, **__: object) -> set[str]:
        return set()

    rule = ordering.is_blocked
    _replace(due, "is_blocked", lambda *_: "(1 = 0)")
    _replace(delivery_statements, "is_blocked", lambda *names: f"({rule(*names)} AND 1 = 0)")
    _replace(deliveries, "supersede_stale", nothing)


MUTATIONS: dict[str, Callable[[], None]] = {
    mutation.__name__.replace("_", "-"): mutation
    for mutation in (
        acknowledge_before_commit,
        ignore_attempt,
        skip_stored_state,
        skip_catch_up,
        publish_before_commit,
        outbox_after_commit,
        new_id_per_attempt,
        send_older_after_newer,
        *RESILIENCE_MUTATIONS,
        *REMOVAL_MUTATIONS,
    )
}
SHOWN_ON = {
    "skip-catch-up": "postgresql",
    "keep-leases-of-the-dead": "postgresql",
    # Replicas notice a death by the silence of its runs, and ten deaths in a row are one silence.
    "charge-deaths-of-service": "sqlite",
}
"""The database on which a mutation can show; both where there is none."""


def schedule_for(mutation: str, schedule: Schedule) -> Schedule:
    """Return the schedule with more of the faults that reveal a mutation."""
    more: list[Step] = []
    if mutation == "ignore-attempt":
        # Repeated, because a run has to report before it is cancelled, and machines differ in speed.
        for time_ in (1.5, 2.5, 4.0, 6.0):
            more += [Step(time_, Action.CANCEL, index) for index in range(schedule.jobs)]
            more += [Step(time_ + 0.1, Action.RETRY, index) for index in range(schedule.jobs)]
        network_faults = NetworkFaults(late=50, seconds=1.0)
        return replace(schedule, steps=(*schedule.steps, *more), network_faults=network_faults)
    if mutation == "skip-catch-up":
        more = [Step(0.4 * number, Action.LINES) for number in range(10)]
        return replace(schedule, steps=(*schedule.steps, *more))
    if mutation == "outbox-after-commit":
        more = [Step(0.3 + 0.35 * number, Action.KILL, number, seconds=0.1) for number in range(10)]
        return replace(schedule, steps=(*schedule.steps, *more))
    if mutation in ("new-id-per-attempt", "send-older-after-newer"):
        # Longer than the first retry delay, so that failed deliveries are sent again.
        more = [Step(10.0, Action.CUT)]
        return replace(schedule, steps=(*schedule.steps, *more), behavior=ReceiverBehavior(failing=60))
    steps = (PROVOKING_STEPS | REMOVAL_STEPS).get(mutation)
    if steps is None:
        return replace(schedule, wants_progress=mutation != "publish-before-commit")
    behavior = ReceiverBehavior(failing=60 if mutation == "wait-for-that-day" else 0)
    nights = NIGHTS.get(mutation, 0)
    return replace(schedule, steps=steps, network_faults=NetworkFaults(), behavior=behavior, nights=nights)


def _replace(where: object, name: str, value: object) -> None:
    assert hasattr(where, name)
    setattr(where, name, value)


def serve(words: list[str]) -> None:
    """Run the service with the mutation that the first word names."""
    mutation, *others = words
    MUTATIONS[mutation]()
    replica_entry.serve(others)
