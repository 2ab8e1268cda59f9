"""`create_app(settings)`: the composition root. Every long-lived object is built here, and nowhere else."""

import asyncio
import hmac
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect
from starlette.routing import Route, WebSocketRoute

from infra.database import sqlite_url
from infra.egress import Egress, Rules
from infra.postgresql import AnyDatabase, PostgresDatabase, is_postgresql, open_database
from infra.storage import FolderStorage, Storage, StorageError
from infra.storage.signed import SignedUrls
from infra.supervise import Supervisor
from infra.telemetry import AccessLog
from service import schema
from service.api import (
    exports,
    files,
    health,
    metrics,
    outputs,
    streams,
    submissions,
    uploads,
    verification,
    webhooks,
)
from service.api.callbacks import Callbacks, FrontDoor
from service.api.state import Quotas, State
from service.attempts import Attempts, Limits
from service.auth import Authenticator, PublishedKeys, SharedSecret, Verifier
from service.errors import (
    DATABASE_AWAY,
    Problem,
    on_crash,
    on_database_error,
    on_disconnect,
    on_http_exception,
    on_problem,
    on_storage_error,
)
from service.housekeeping import Housekeeping, Retention
from service.hub import Hub, NoticeType, Publication
from service.models import Job
from service.outcomes import Outcomes
from service.relay import Relay
from service.runners import LocalRunner, Runner, RunnerCheck
from service.settings import BadSettings, Settings
from service.transfers import Transfers
from service.view import JobView
from service.webhooks import log
from service.webhooks.deliverer import Deliverer
from service.webhooks.outbox import Outbox
from service.webhooks.tables import Endpoint
from service.writer import Writer

if TYPE_CHECKING:
    from infra.storage.client import S3Place

ROUTES = [
    Route("/api/callbacks/{job_id}", Callbacks(), methods=["POST"]),
    Route("/api/exports", submissions.create, methods=["POST"]),
    Route("/api/exports", exports.list_),
    Route("/api/exports/active", exports.active),
    Route("/api/exports/recent", exports.recent),
    Route("/api/exports/unacknowledged", exports.unacknowledged),
    Route("/api/exports/acknowledge", exports.acknowledge, methods=["POST"]),
    Route("/api/exports/events", streams.user_events),
    Route("/api/exports/{job_id}", exports.get),
    Route("/api/exports/{job_id}", exports.cancel, methods=["DELETE"]),
    Route("/api/exports/{job_id}/retry", exports.retry, methods=["POST"]),
    Route("/api/exports/{job_id}/events", streams.export_events),
    Route("/api/exports/{job_id}/download", exports.download),
    Route("/api/uploads", uploads.create, methods=["POST"]),
    Route("/api/uploads/{upload}", uploads.get),
    Route("/api/uploads/{upload}", uploads.abort, methods=["DELETE"]),
    Route("/api/uploads/{upload}/complete", uploads.complete, methods=["POST"]),
    Route("/api/files/{key:path}", files.get),
    Route("/api/files/{key:path}", files.put, methods=["PUT"]),
    Route("/api/callbacks/{job_id}/output", outputs.hand_over, methods=["POST"]),
    Route("/api/webhooks", webhooks.create, methods=["POST"]),
    Route("/api/webhooks", webhooks.list_),
    Route("/api/webhooks/verify", verification.verify, methods=["POST"]),
    Route("/api/webhooks/{id}", webhooks.get),
    Route("/api/webhooks/{id}", webhooks.change, methods=["PATCH"]),
    Route("/api/webhooks/{id}", webhooks.remove, methods=["DELETE"]),
    Route("/api/webhooks/{id}/rotate", webhooks.rotate, methods=["POST"]),
    Route("/api/webhooks/{id}/public-key", webhooks.public_key),
    Route("/api/webhooks/{id}/test", webhooks.test, methods=["POST"]),
    Route("/api/webhooks/{id}/recover", webhooks.recover, methods=["POST"]),
    Route("/api/webhooks/{id}/deliveries", webhooks.deliveries),
    Route("/api/webhooks/{id}/deliveries/{delivery_id}", webhooks.delivery),
    Route("/api/webhooks/{id}/deliveries/{delivery_id}/redeliver", webhooks.redeliver, methods=["POST"]),
    Route("/api/stream-tickets", streams.ticket, methods=["POST"]),
    Route("/healthz", health.healthz),
    Route("/readyz", health.readyz),
    Route("/metrics", metrics.metrics),
    WebSocketRoute("/ws/export/{job_id}", streams.export_socket),
    WebSocketRoute("/ws/exports", streams.user_socket),
]


def create_app(settings: Settings, runner: Runner | None = None) -> Starlette:
    """The service as an ASGI application; `app.state.close_streams()` ends every stream before a shutdown.

    `runner` replaces the one that the settings name.
    """
    hub = Hub()

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[State]:
        async with _running(settings, hub, runner) as state:
            yield state

    app = Starlette(
        routes=ROUTES,
        lifespan=lifespan,
        middleware=_middleware(settings),
        exception_handlers={
            Problem: on_problem,
            StorageError: on_storage_error,
            HTTPException: on_http_exception,
            ClientDisconnect: on_disconnect,
            **dict.fromkeys(DATABASE_AWAY, on_database_error),
            Exception: on_crash,
        },
    )
    app.state.close_streams = hub.close
    return app


@asynccontextmanager
async def _running(settings: Settings, hub: Hub, given: Runner | None) -> AsyncIterator[State]:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    url = settings.database_url or sqlite_url(settings.data_dir / "framehook.db")
    await _prepared(url)
    service = _build(settings, hub, open_database(url), given or _runner(settings))
    if not is_postgresql(url):
        # One process owns a SQLite file, so whatever ran before it is known to be nobody's.
        await service.attempts.resume()
    keep = service.state["supervisor"].keep
    tasks = [asyncio.create_task(keep(name, loop), name=name) for name, loop in service.loops.items()]
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
            closing.push_async_callback(service.state["deliverer"].stop)
            closing.push_async_callback(service.attempts.hand_over)
            closing.push_async_callback(service.writer.drain)


async def _prepared(url: str) -> None:
    if not is_postgresql(url):
        await asyncio.to_thread(schema.upgrade, url)
    elif not await schema.is_current(url):
        raise BadSettings("DATABASE_URL: the schema is not the newest; run `framehook db upgrade` first")


@dataclass(frozen=True)
class _Service:
    state: State
    writer: Writer
    runner: Runner
    attempts: Attempts
    loops: dict[str, Callable[[], Awaitable[None]]]


def _build(settings: Settings, hub: Hub, database: AnyDatabase, runner: Runner) -> _Service:
    masters = _master_keys(settings)
    view = JobView(settings.origin)

    outbox = Outbox(view)
    database.before_commit = outbox.in_session
    egress = Egress(Rules(settings.webhook_allowed_networks, settings.webhook_allow_http))

    def tell(endpoint: Endpoint) -> None:
        hub.publish(_disabled(endpoint))

    deliverer = Deliverer(database, egress, outbox, tell)

    def publish(job: Job) -> None:
        deliverer.noticed()
        if hub.wanted(job.job_id, job.user_id):
            hub.publish(view.publication(job))

    storage = _storage(settings, masters[0])
    writer = Writer(database, publish, outbox)
    outcomes = Outcomes(database, storage, writer, publish, lease_seconds=settings.finalize_seconds)
    attempts = Attempts(
        database,
        storage,
        runner,
        outcomes,
        publish,
        transfers=_transfers(settings, storage, runner),
        origin=settings.callback_origin,
        master_key=masters[0],
        limits=_limits(settings),
    )
    loops: dict[str, Callable[[], Awaitable[None]]] = {
        "writer": writer.run,
        "dispatch": attempts.dispatch,
        "watch": attempts.watch,
        "webhooks": deliverer.run,
    }
    retention = Retention(events_seconds=settings.timeline_days * 86_400)
    loops["housekeeping"] = Housekeeping(database, retention).run
    if isinstance(database, PostgresDatabase):
        loops["relay"] = Relay(database, hub, publish, tell).run
    state = State(
        database=database,
        storage=storage,
        supervisor=Supervisor(),
        attempts=attempts,
        outcomes=outcomes,
        writer=writer,
        authenticator=Authenticator(_verifier(settings), _derived(masters[0], "stream tickets")),
        hub=hub,
        publish=publish,
        egress=egress,
        deliverer=deliverer,
        view=view,
        quotas=Quotas(
            settings.max_queued_per_user,
            settings.max_upload_bytes,
            settings.attempt_limit,
            settings.max_webhooks_per_user,
        ),
        runner_name=runner.name,
        runner_check=RunnerCheck(runner),
        gpu=settings.modal_gpu if settings.modal_enabled else None,
        origin=settings.origin,
        allowed_origins=settings.allowed_origins,
        upload_key=_derived(masters[0], "uploads"),
        master_keys=masters,
    )
    return _Service(state, writer, runner, attempts, loops)


def _disabled(endpoint: Endpoint) -> Publication:
    """The notice to its owner that an endpoint is sent nothing more."""
    body = msgspec.json.encode(log.show_endpoint(endpoint))
    moment = round((endpoint.disabled_at or 0) * 1000)
    return Publication(endpoint.endpoint_id, endpoint.user_id, moment, NoticeType.WEBHOOK_DISABLED, body)


def _runner(settings: Settings) -> Runner:
    if settings.modal_enabled:
        from service.runners.modal import ModalRunner  # the SDK takes a second to import, and only here

        return ModalRunner(
            settings.modal_app_name,
            settings.modal_token,
            patience_seconds=settings.silence_seconds / 2,
            spawn_seconds=min(20.0, settings.lease_seconds * 2 / 3),
        )
    shared = settings.database_url is not None and is_postgresql(settings.database_url)
    return LocalRunner(settings.data_dir / "scratch", settings.local_workers, alone=not shared)


def _storage(settings: Settings, master: bytes) -> Storage:
    place = bucket_place(settings)
    if place is None:
        return FolderStorage(settings.data_dir, SignedUrls(settings.origin, _derived(master, "files")))
    from infra.storage.client import Bucket  # boto3 takes half a second to import, and only here
    from infra.storage.s3 import S3Storage

    return S3Storage(Bucket(place))


def bucket_place(settings: Settings) -> "S3Place | None":
    """Where the bucket is, if files are kept in one."""
    secret = settings.r2_secret_access_key
    if not (settings.r2_endpoint_url and settings.r2_access_key_id and secret and settings.r2_bucket_name):
        return None
    from infra.storage.client import S3Place

    return S3Place(
        settings.r2_endpoint_url,
        settings.r2_access_key_id,
        secret.get_secret_value(),
        settings.r2_bucket_name,
    )


def _transfers(settings: Settings, storage: Storage, runner: Runner) -> Transfers:
    return Transfers(
        storage,
        origin=settings.callback_origin,
        same_machine=runner.name == LocalRunner.name,
        url_seconds=settings.queue_deadline_seconds + settings.attempt_deadline_seconds,
    )


def _limits(settings: Settings) -> Limits:
    return Limits(
        per_user=settings.max_active_per_user,
        deadline_seconds=settings.attempt_deadline_seconds,
        queue_seconds=settings.queue_deadline_seconds,
        silence_seconds=settings.silence_seconds,
        lease_seconds=settings.lease_seconds,
        watch_seconds=settings.watch_seconds,
    )


def _verifier(settings: Settings) -> Verifier | None:
    audience, issuer = settings.auth_audience, settings.auth_issuer
    if settings.auth_jwt_secret:
        secret = settings.auth_jwt_secret.get_secret_value()
        return SharedSecret(secret, audience=audience, issuer=issuer)
    if settings.auth_jwks_url:
        return PublishedKeys(settings.auth_jwks_url, audience=audience, issuer=issuer)
    return None


def _middleware(settings: Settings) -> list[Middleware]:
    layers = [Middleware(FrontDoor), Middleware(AccessLog)]
    if not settings.authenticated:
        # Without users to tell apart, a page elsewhere that resolves its own name to this machine must be kept out.
        public = urlsplit(settings.origin).hostname or "127.0.0.1"
        layers.append(
            Middleware(
                TrustedHostMiddleware,
                allowed_hosts=["localhost", "127.0.0.1", "[::1]", public],
                www_redirect=False,
            )
        )
    if settings.allowed_origins:
        layers.append(
            Middleware(
                CORSMiddleware,
                allow_origins=list(settings.allowed_origins),
                allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
                allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID"],
                expose_headers=["Location", "Retry-After", "ETag", "Content-Disposition"],
            )
        )
    return layers


def _master_keys(settings: Settings) -> tuple[bytes, ...]:
    if settings.callback_secret:
        return tuple(secret.get_secret_value().encode() for secret in settings.callback_secret)
    return (_kept_secret(settings.data_dir / "callback_secret"),)


def _kept_secret(path: Path) -> bytes:
    """The secret in the data folder, made at the first start; nobody but the owner may read it."""
    if not path.exists():
        part = path.with_suffix(".part")
        part.unlink(missing_ok=True)
        part.touch(mode=0o600)
        part.write_text(secrets.token_urlsafe(48))
        part.replace(path)
    return path.read_bytes()


def _derived(master: bytes, purpose: str) -> bytes:
    return hmac.digest(master, purpose.encode(), "sha256")
