"""Build the long-lived objects of the service from its settings, and connect them."""

from functools import partial

from infra.database.base import Database
from infra.liveness import Liveness
from infra.loop_watchdog import watch_event_loop
from infra.supervise import Supervisor
from service.api.streaming.direct import StreamTimer
from service.clock import Clock
from service.composition.exports import create_eraser, create_removal
from service.composition.factories import (
    Loop,
    create_lease_renewal,
    create_limits,
    create_maintenance_loops,
    create_output_prober,
    create_runner,
    create_spec_builder,
    load_master_keys,
)
from service.composition.monitoring import create_measured_storage, create_monitoring
from service.composition.replacements import Replacements
from service.composition.runner_parts import create_client_serializer, create_runner_parts
from service.composition.services import Base, Jobs, Service, Webhooks
from service.composition.state import build_state
from service.composition.webhooks import create_egress_client, create_webhooks
from service.dispatch.attempt_failures import AttemptEnder
from service.dispatch.dispatcher import Dispatcher
from service.dispatch.rescuer import Rescuer
from service.dispatch.run_control import RunControl
from service.exports.erasure import ErasureObservers
from service.exports.forecasts import RunForecasts
from service.fanout.changes import JobChanges
from service.fanout.hub import Hub
from service.fanout.notification_channel import NotificationChannel
from service.ingest.batch_writer import BatchWriter
from service.ingest.finalizer import Finalizer
from service.ingest.prober import Prober
from service.jobs.serializers import JobSerializer
from service.keys.key_ring import KeyRing
from service.metrics.storage import StorageWatch
from service.settings import Settings
from service.tracing.runs import trace_steps
from service.workers.starter import WorkerStarter


def build_service(settings: Settings, hub: Hub, database: Database, replacements: Replacements) -> Service:
    """Build everything; the database is open, and its schema is the newest."""
    master_keys, starter = load_master_keys(settings), WorkerStarter()
    clock = replacements.clock or Clock()
    runner = replacements.runner or create_runner(settings, starter)
    monitoring = create_monitoring(settings, database, runner, master_keys[0], replacements.tracing)
    runner_parts = create_runner_parts(settings, database, monitoring.runner, clock)
    storage, folder_storage = create_measured_storage(settings, master_keys[0], monitoring.metrics.storage)
    base = Base(
        settings=settings,
        hub=hub,
        database=database,
        storage=storage,
        folder_storage=folder_storage,
        starter=starter,
        runner=monitoring.runner,
        runner_parts=runner_parts,
        monitoring=monitoring,
        clock=clock,
        keys=KeyRing(database, clock),
        stream_timer=StreamTimer(clock),
        serializer=create_client_serializer(settings, runner_parts),
        webhook_serializer=JobSerializer(
            settings.origin, runner_parts.board.describe, runner_parts.forecaster.predict_wait
        ),
        master_keys=master_keys,
    )
    egress = replacements.egress or create_egress_client(settings)
    webhooks = create_webhooks(base, egress, replacements.tracing)
    jobs = _build_jobs(base, webhooks, replacements)
    supervisor = Supervisor()
    liveness = Liveness(database.check, supervisor)
    state = build_state(base, webhooks, jobs, supervisor, liveness)
    loops = {"liveness": liveness.run} | _list_loops(base, webhooks, jobs)
    if settings.fork_server and replacements.runner is None:
        loops["fork server"] = starter.run
    if settings.watchdog_seconds:
        loops["watchdog"] = partial(watch_event_loop, settings.watchdog_seconds)
    return Service(state, base.runner, starter, loops)


def _build_jobs(base: Base, webhooks: Webhooks, replacements: Replacements) -> Jobs:
    """Build what changes jobs; all of it reports to `JobChanges`."""
    settings, database, storage = base.settings, base.database, base.storage
    runner, clock = base.runner, base.clock
    control = RunControl(database, storage, runner)
    changes = _build_changes(base, webhooks, control)
    writer = _build_writer(base, webhooks, changes)
    leases = create_lease_renewal(settings, database, clock)
    source_prober = replacements.source_prober or Prober(base.starter, slots=1)
    forecasts = RunForecasts(database, storage, source_prober, base.runner_parts.forecaster)
    parts = (database, storage, writer, changes)
    finalizer = Finalizer(
        *parts,
        prober=replacements.output_prober or create_output_prober(base.starter),
        max_output_bytes=settings.max_output_bytes,
        leases=leases,
        on_complete=forecasts.record_run,
        trace=trace_steps(replacements.tracing),
    )
    limits = create_limits(settings)
    ender = AttemptEnder(database, changes, clock)
    runs = base.monitoring.metrics.runner
    rescuer = Rescuer(database, runner, finalizer, ender, limits=limits, clock=clock, metrics=runs)
    dispatcher = Dispatcher(
        database,
        runner,
        base.runner_parts.readiness,
        create_spec_builder(settings, storage, runner, base.master_keys[0]),
        control,
        rescuer,
        ender,
        changes,
        base.runner_parts.budgets,
        limits=limits,
        clock=clock,
    )
    observers = ErasureObservers(changes.publish_erased, webhooks.worker.wake)
    eraser = create_eraser(settings, database, storage, runner, observers, clock)
    removal = create_removal(settings, database, storage, eraser, changes, base.webhook_serializer, clock)
    return Jobs(changes, writer, leases, finalizer, rescuer, dispatcher, removal, forecasts)


def _build_changes(base: Base, webhooks: Webhooks, control: RunControl) -> JobChanges:
    wake, completed = webhooks.worker.on_commit, webhooks.outbox.completed_batches
    return JobChanges(base.hub, base.serializer, control, wake_deliveries=wake, completed_batches=completed)


def _build_writer(base: Base, webhooks: Webhooks, changes: JobChanges) -> BatchWriter:
    parts = (base.monitoring.recorder, base.monitoring.metrics.callbacks, base.runner_parts.budgets)
    return BatchWriter(base.database, changes, webhooks.outbox, *parts)


def _list_loops(base: Base, webhooks: Webhooks, jobs: Jobs) -> dict[str, Loop]:
    """Return the loops by the names that the log and `/healthz` show."""
    loops: dict[str, Loop] = {
        "writer": jobs.writer.run,
        "dispatch": jobs.dispatcher.run,
        "watch": jobs.rescuer.run,
        "output leases": jobs.leases.run,
        "webhooks": webhooks.worker.run,
        "webhook scan": webhooks.worker.scan,
        "streams": base.stream_timer.run,
        "keys": base.keys.run,
        **base.runner_parts.list_loops(base.database, base.hub, base.serializer),
        "export log": base.monitoring.recorder.run,
        **jobs.removal.loops,
        "forecasts": jobs.forecasts.run,
        "storage": StorageWatch(base.storage.check, base.monitoring.metrics.storage).run,
        **create_maintenance_loops(base.settings, base.database, base.storage, base.clock),
    }
    if (feed := base.database.change_feed) is not None:
        channel = NotificationChannel(
            base.database, feed, base.hub, jobs.changes, webhooks.listeners, base.clock.wall
        )
        loops["relay"] = channel.run
    return loops
