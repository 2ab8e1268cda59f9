"""`create_app(settings)`: the composition root. Every long-lived object is built here, and nowhere else."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from starlette.applications import Starlette

from infra.database.postgresql import Database, PostgresDatabase, is_postgresql, open_database
from infra.database.sqlite import sqlite_url
from infra.egress import EgressClient, EgressPolicy
from infra.liveness import Liveness
from infra.storage import FolderStorage
from infra.supervise import Supervisor
from service import schema
from service.api.auth import Authenticator
from service.api.callbacks import CallbackFastPath
from service.api.middleware import create_middleware
from service.api.problem_handlers import (
    EXCEPTION_HANDLERS,
)
from service.api.routes import ROUTES
from service.api.state import Quotas, State
from service.clock import Clock
from service.dispatch.attempt_failures import AttemptEnder
from service.dispatch.attempt_specs import SpecBuilder
from service.dispatch.dispatcher import Dispatcher
from service.dispatch.rescuer import Rescuer
from service.dispatch.run_control import RunControl
from service.dispatch.runners import Runner, RunnerReadiness
from service.exports.service import ExportService
from service.factories import (
    create_limits,
    create_runner,
    create_storage,
    create_transfer_planner,
    create_verifier,
    derive_key,
    load_master_keys,
)
from service.fanout.changes import JobChanges
from service.fanout.hub import Hub
from service.fanout.initial_states import InitialStatesReader
from service.fanout.listener import ChangeListener
from service.fanout.notices import publish_disabled
from service.fanout.stream_slots import StreamSlots
from service.ingest.batch_writer import BatchWriter
from service.ingest.finalizer import Finalizer
from service.ingest.lease_renewal import LeaseRenewal
from service.ingest.output_check import SourceProber
from service.ingest.prober import Prober
from service.jobs.serializers import JobSerializer
from service.retention import Retention, RetentionTask
from service.settings import Settings
from service.startup.data_folder import (
    DATABASE,
    database_files,
    make_private,
    make_rest_private,
    own_entries,
    secure_data_folder,
)
from service.startup.errors import schema_error
from service.startup.outage import OutageLogFilter
from service.upload_cleanup import UploadCleanup
from service.webhooks.outbox import Outbox
from service.webhooks.worker import DeliveryWorker, WorkerConfig

MAX_OUTPUT_PROBES = 4
OUTPUT_PROBE_SECONDS = 60.0
LEASE_TIMEOUTS = 4
"""An attempt to deliver is its sender's for so many times as long as it may take."""


@dataclass(frozen=True)
class Replacements:
    """What stands between the service and the world, and may be replaced."""

    runner: Runner | None
    clock: Clock
    output_prober: SourceProber


def create_app(
    settings: Settings,
    runner: Runner | None = None,
    clock: Clock | None = None,
    output_prober: SourceProber | None = None,
) -> Starlette:
    """The service as an ASGI application; `app.state.close_streams()` ends every stream before a shutdown.

    `runner` replaces the one that the settings name, `clock` the machine's, `output_prober` the processes that look at
    what runs have written.
    """
    hub = Hub()

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[State]:
        edges = Replacements(
            runner,
            clock or Clock(),
            output_prober or Prober(places=MAX_OUTPUT_PROBES, seconds=OUTPUT_PROBE_SECONDS),
        )
        async with _running(settings, hub, edges) as state:
            yield state

    app = Starlette(
        routes=ROUTES,
        lifespan=lifespan,
        middleware=create_middleware(settings),
        exception_handlers=EXCEPTION_HANDLERS,
    )
    app.router.redirect_slashes = False  # it would lead to http:// and whatever Host says
    app.middleware_stack = CallbackFastPath(app.build_middleware_stack())
    app.state.close_streams = hub.close
    return app


@asynccontextmanager
async def _running(settings: Settings, hub: Hub, edges: Replacements) -> AsyncIterator[State]:
    secure_data_folder(settings.data_dir)
    url = settings.database_url or sqlite_url(settings.data_dir / DATABASE)
    not_private_yet = await make_private([*own_entries(settings.data_dir), *database_files(url)])
    await _upgrade_database(url, settings)
    service = _build(settings, hub, open_database(url), edges)
    if not is_postgresql(url):
        # One process owns a SQLite file, so whatever ran before it is known to be nobody's.
        await service.state["rescuer"].restart_orphaned()
        await service.state["delivery_worker"].resume()
    keep = service.state["supervisor"].keep_running
    tasks = [asyncio.create_task(keep(name, loop), name=name) for name, loop in service.loops.items()]
    tasks.append(asyncio.create_task(make_rest_private(not_private_yet)))
    try:
        yield service.state
    finally:
        hub.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with AsyncExitStack() as closing:  # from the last to the first, whatever fails on the way
            closing.push_async_callback(service.state["database"].close)
            closing.push_async_callback(service.state["storage"].close)
            closing.push_async_callback(service.runner.close)
            closing.push_async_callback(service.state["egress"].close)
            closing.push_async_callback(service.state["delivery_worker"].stop)
            closing.push_async_callback(service.state["dispatcher"].release_local_runs)
            closing.push_async_callback(service.writer.drain)


async def _upgrade_database(url: str, settings: Settings) -> None:
    if not is_postgresql(url):
        await asyncio.to_thread(schema.upgrade, url)
        return
    known = ["", *schema.known_revisions(url)[::-1]]
    revision = await schema.revision_of(url)
    if revision != known[-1]:
        raise schema_error(revision if revision in known else None, settings)


@dataclass(frozen=True)
class _Service:
    state: State
    writer: BatchWriter
    runner: Runner
    loops: dict[str, Callable[[], Awaitable[None]]]


def _build(settings: Settings, hub: Hub, database: Database, edges: Replacements) -> _Service:
    runner, clock = edges.runner or create_runner(settings), edges.clock
    masters = load_master_keys(settings)
    view = JobSerializer(settings.origin)

    outbox = Outbox(view, clock.wall)
    database.before_commit = outbox.write_in_session
    egress = EgressClient(
        EgressPolicy(
            settings.webhook_allowed_networks,
            settings.webhook_allow_http,
            networks_setting="WEBHOOK_ALLOWED_NETWORKS",
            http_setting="WEBHOOK_ALLOW_HTTP",
        ),
        total_seconds=settings.webhook_timeout_seconds,
    )

    config = WorkerConfig(lease_seconds=LEASE_TIMEOUTS * settings.webhook_timeout_seconds)
    delivery_worker = DeliveryWorker(
        database, egress, outbox, partial(publish_disabled, hub), config=config, clock=clock.wall
    )

    storage = create_storage(settings, masters[0])
    control = RunControl(database, storage, runner)
    changes = JobChanges(hub, view, control, wake_deliveries=delivery_worker.on_commit)
    writer = BatchWriter(database, changes, outbox)
    leases = LeaseRenewal(
        database,
        lease_seconds=settings.finalize_lease_seconds,
        limit_seconds=settings.finalize_seconds,
        clock=clock,
    )
    outcomes = Finalizer(
        database,
        storage,
        writer,
        changes,
        prober=edges.output_prober,
        max_output_bytes=settings.max_output_bytes,
        leases=leases,
    )
    limits = create_limits(settings)
    specs = SpecBuilder(
        runner,
        create_transfer_planner(settings, storage, runner),
        origin=settings.callback_origin,
        master_key=masters[0],
        deadline_seconds=limits.deadline_seconds,
    )
    ender = AttemptEnder(database, changes, clock)
    rescuer = Rescuer(database, runner, outcomes, ender, limits=limits, clock=clock)
    dispatcher = Dispatcher(
        database, runner, specs, control, rescuer, ender, changes, limits=limits, clock=clock
    )
    exports = ExportService(
        database,
        storage,
        egress,
        changes,
        runner=runner.name,
        max_queued=settings.max_queued_per_user,
        attempt_limit=settings.attempt_limit,
        clock=clock.wall,
    )
    supervisor = Supervisor()
    liveness = Liveness(database.check, supervisor)
    loops: dict[str, Callable[[], Awaitable[None]]] = {
        "liveness": liveness.run,
        "writer": writer.run,
        "dispatch": dispatcher.run,
        "watch": rescuer.run,
        "output leases": leases.run,
        "webhooks": delivery_worker.run,
    }
    retention = Retention(events_seconds=settings.timeline_days * 86_400)
    loops["housekeeping"] = RetentionTask(database, retention).run
    loops["outage"] = OutageLogFilter(database.check).run
    loops["uploads"] = UploadCleanup(storage).run
    if isinstance(database, PostgresDatabase):
        loops["relay"] = ChangeListener(database, hub, changes).run
    state = State(
        clock=clock,
        database=database,
        storage=storage,
        folder_storage=storage if isinstance(storage, FolderStorage) else None,
        supervisor=supervisor,
        liveness=liveness,
        dispatcher=dispatcher,
        rescuer=rescuer,
        outcomes=outcomes,
        writer=writer,
        authenticator=Authenticator(create_verifier(settings), derive_key(masters[0], "stream tickets")),
        hub=hub,
        initial_states=InitialStatesReader(database, view),
        stream_slots=StreamSlots(settings.max_streams_per_user, settings.max_streams),
        changes=changes,
        exports=exports,
        egress=egress,
        delivery_worker=delivery_worker,
        prober=Prober(),
        view=view,
        quotas=Quotas(
            settings.max_upload_bytes,
            settings.max_output_bytes,
            settings.max_webhooks_per_user,
        ),
        runner_name=runner.name,
        runner_readiness=RunnerReadiness(runner),
        gpu=runner.gpu,
        origin=settings.origin,
        allowed_origins=settings.allowed_origins,
        upload_key=derive_key(masters[0], "uploads"),
        master_keys=masters,
    )
    return _Service(state, writer, runner, loops)
