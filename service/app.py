"""`create_app(settings)`: the service as an ASGI application, from start to shutdown."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.routing import Router

from gpu.export_types.registry import get_export_types
from infra.database.factory import open_database
from infra.database.postgresql import is_postgresql
from infra.database.sqlite import sqlite_url
from infra.egress import EgressClient
from infra.telemetry import RequestLog
from service import schema
from service.api.callbacks import CallbackFastPath, Callbacks
from service.api.middleware import count_request, create_middleware
from service.api.origins.cors import CrossOrigin
from service.api.origins.policy import OriginPolicy
from service.api.problem_handlers import EXCEPTION_HANDLERS, refuse_unknown_path
from service.api.routes import ROUTES
from service.api.state import State
from service.clock import Clock
from service.composition.build import build_service
from service.composition.replacements import Replacements
from service.composition.services import Service
from service.dispatch.runners import Runner
from service.fanout.hub import Hub
from service.ingest.output_check import SourceProber
from service.schema import SchemaAge
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
from service.tracing.requests import trace_requests
from service.tracing.switch import create_tracing

if TYPE_CHECKING:
    from service.tracing.tracer import Tracing


def create_app(
    settings: Settings,
    runner: Runner | None = None,
    clock: Clock | None = None,
    output_prober: SourceProber | None = None,
    egress: EgressClient | None = None,
    source_prober: SourceProber | None = None,
    tracing: "Tracing | None" = None,
) -> Starlette:
    """Return the application; `app.state.close_streams()` ends every stream before a shutdown.

    `app.state.cross_origin` adds the headers of CORS to what the server answers itself. `app.state.direct_app` takes
    callbacks from the server without ASGI.

    For tests, `runner` replaces the one that the settings name, `clock` the system's clocks, `output_prober` and
    `source_prober` what probes outputs and sources, `egress` what sends webhooks, and `tracing` what sends spans.
    """
    hub, tracing = Hub(), tracing or create_tracing(settings)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[State]:
        replacements = Replacements(runner, clock, output_prober, egress, source_prober, tracing)
        async with _run_service(settings, hub, replacements) as state:
            yield state

    app = Starlette(
        routes=ROUTES,
        lifespan=lifespan,
        middleware=create_middleware(settings),
        exception_handlers=EXCEPTION_HANDLERS,
    )
    _configure_router(app.router)
    cross_origin = CrossOrigin(OriginPolicy.of(settings))
    callbacks = Callbacks()
    requests = RequestLog(trace_requests(app.build_middleware_stack(), tracing), count_request)
    app.middleware_stack = CallbackFastPath(cross_origin.wrap(requests), callbacks)
    app.state.close_streams = hub.close
    app.state.cross_origin = cross_origin
    app.state.direct_app = callbacks
    return app


@asynccontextmanager
async def _run_service(settings: Settings, hub: Hub, replacements: Replacements) -> AsyncIterator[State]:
    """Prepare the data folder and the database, run every loop, and shut down in order."""
    secure_data_folder(settings.data_dir)
    get_export_types().load_all()  # logs which packages can't be used
    url = settings.database_url or sqlite_url(settings.data_dir / DATABASE)
    not_private_yet = await make_private([*own_entries(settings.data_dir), *database_files(url)])
    await _upgrade_database(url, settings)
    service = build_service(settings, hub, open_database(url), replacements)
    if service.state["database"].change_feed is None:
        # A single process owns the database, so the process that left these runs and deliveries has ended.
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
        await _shut_down(service)
        if replacements.tracing is not None:
            await asyncio.to_thread(replacements.tracing.close)


async def _shut_down(service: Service) -> None:
    """Commit what is waiting, hand over runs and deliveries, and close.

    An error in one step skips no other.
    """
    state = service.state
    async with AsyncExitStack() as steps:  # runs them from the last to the first
        steps.push_async_callback(state["database"].close)
        steps.push_async_callback(state["storage"].close)
        steps.push_async_callback(service.starter.close)
        steps.push_async_callback(service.runner.close)
        steps.push_async_callback(state["egress"].close)
        steps.push_async_callback(state["delivery_worker"].stop)
        steps.push_async_callback(state["dispatcher"].release_local_runs)
        steps.push_async_callback(state["scraper"].recorder.drain)
        steps.push_async_callback(state["writer"].drain)


async def _upgrade_database(url: str, settings: Settings) -> None:
    """Upgrade a SQLite file.

    Raises StartError for a PostgreSQL that an operator has to upgrade first.
    """
    if not is_postgresql(url):
        await asyncio.to_thread(schema.upgrade, url)
        return
    found_schema = await schema.read_schema(url)
    if found_schema.age is not SchemaAge.CURRENT:
        raise schema_error(found_schema, settings)


def _configure_router(router: Router) -> None:
    router.redirect_slashes = False  # it would redirect to http:// and to the Host that the request names
    router.default = refuse_unknown_path
