"""Create storage, runner, verifier, clients and keys from the settings.

`build` connects them.
"""

import hmac
import os
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from infra.database.base import Database
from infra.database.postgresql import is_postgresql
from infra.storage import FolderStorage, Storage
from infra.storage.disk_reserve import DiskReserve
from infra.storage.signed import UrlSigner
from service.api.access.rate_limits import RateLimits, RouteClass
from service.api.access.tokens import JwksVerifier, SharedSecretVerifier, Verifier
from service.api.auth import Authenticator
from service.api.origins.policy import OriginPolicy
from service.api.state import Limits as RequestLimits
from service.clock import DAY_SECONDS, Clock
from service.dispatch.attempt_specs import SpecBuilder
from service.dispatch.observation import Limits
from service.dispatch.runners import LocalRunner, Runner
from service.dispatch.runners.reach import find_unreachable_address
from service.dispatch.transfer_plan import TransferPlanner
from service.http_server.limits import ConnectionLimits, HttpLimits
from service.ingest.lease_renewal import LeaseRenewal
from service.ingest.prober import Prober
from service.keys.key_ring import KeyRing
from service.retention import Retention, RetentionTask
from service.settings import MIN_SECRET_BYTES, BadSettings, Settings
from service.startup.outage import OutageLogFilter
from service.upload_cleanup import UploadCleanup
from service.workers.starter import WorkerStarter

if TYPE_CHECKING:
    from infra.storage.client import S3Config

USERS_IN_LOGS = "users in logs"
"""The purpose of the key with which users are hashed."""

Loop = Callable[[], Awaitable[None]]

MAX_OUTPUT_PROBES = 4
OUTPUT_PROBE_SECONDS = 60.0


def create_runner(settings: Settings, starter: WorkerStarter) -> Runner:
    """Create the runner: Modal, or processes on this machine."""
    if settings.modal_enabled:
        from service.dispatch.runners.modal import ModalRunner, is_modal_cloud

        if is_modal_cloud() and (problem := find_unreachable_address(settings)):
            raise BadSettings(problem)
        return ModalRunner(
            settings.modal_app_name,
            settings.modal_token,
            gpu=settings.modal_gpu if is_modal_cloud() or settings.gpu_usd_per_second is not None else None,
            max_retry_seconds=settings.silence_seconds / 2,
            spawn_seconds=min(20.0, settings.lease_seconds * 2 / 3),
        )
    shared = settings.database_url is not None and is_postgresql(settings.database_url)
    return LocalRunner(
        settings.data_dir / "scratch",
        settings.local_workers,
        alone=not shared,
        reserve=DiskReserve((settings.data_dir / "incoming").absolute()),
        starter=starter,
    )


def create_storage(settings: Settings, master: bytes) -> Storage:
    """Create the storage: the bucket of the settings, else a folder."""
    config = bucket_config(settings)
    if config is None:
        return FolderStorage(settings.data_dir, UrlSigner(settings.origin, derive_key(master, "files")))
    from infra.storage.client import Bucket  # importing boto3 takes half a second
    from infra.storage.s3 import S3Storage

    return S3Storage(Bucket(config))


def bucket_config(settings: Settings) -> "S3Config | None":
    """Return the address and credentials of the bucket; None if files are stored in a folder."""
    secret = settings.r2_secret_access_key
    if not (settings.r2_endpoint_url and settings.r2_access_key_id and secret and settings.r2_bucket_name):
        return None
    from infra.storage.client import S3Config

    return S3Config(
        settings.r2_endpoint_url,
        settings.r2_access_key_id,
        secret.get_secret_value(),
        settings.r2_bucket_name,
    )


def create_request_limits(settings: Settings) -> RequestLimits:
    return RequestLimits(
        upload_bytes=settings.max_upload_bytes,
        output_bytes=settings.max_output_bytes,
        endpoints=settings.max_webhooks_per_user,
    )


def create_spec_builder(
    settings: Settings, storage: Storage, runner: Runner, master_key: bytes
) -> SpecBuilder:
    """Create the builder of attempt specs, which includes the URLs of transfers and callbacks."""
    transfers = TransferPlanner(
        storage,
        origin=settings.callback_origin,
        shares_filesystem=runner.shares_filesystem,
        url_seconds=settings.queue_deadline_seconds + settings.attempt_deadline_seconds,
    )
    return SpecBuilder(
        runner,
        transfers,
        origin=settings.callback_origin,
        master_key=master_key,
        deadline_seconds=settings.attempt_deadline_seconds,
    )


def create_limits(settings: Settings) -> Limits:
    """Collect the limits of dispatch: concurrency, deadlines and intervals."""
    return Limits(
        per_user=settings.max_active_per_user,
        deadline_seconds=settings.attempt_deadline_seconds,
        queue_seconds=settings.queue_deadline_seconds,
        silence_seconds=settings.silence_seconds,
        stalled_seconds=settings.stalled_seconds,
        lease_seconds=settings.lease_seconds,
        finalize_lease_seconds=settings.finalize_lease_seconds,
        rescue_interval_seconds=settings.watch_seconds,
        priority_seconds=settings.priority_seconds_between_users,
    )


def create_output_prober(starter: WorkerStarter) -> Prober:
    """Create the prober of outputs.

    Its processes are separate, so that probes of uploads never delay an export.
    """
    return Prober(starter, slots=MAX_OUTPUT_PROBES, seconds=OUTPUT_PROBE_SECONDS)


def create_lease_renewal(settings: Settings, database: Database, clock: Clock) -> LeaseRenewal:
    """Create what renews the leases of outputs while they are checked and stored."""
    return LeaseRenewal(
        database,
        lease_seconds=settings.finalize_lease_seconds,
        limit_seconds=settings.finalize_seconds,
        clock=clock,
    )


def create_maintenance_loops(
    settings: Settings, database: Database, storage: Storage, clock: Clock
) -> dict[str, Loop]:
    """Create the loops that delete old rows and uploads, and that report a database outage once."""
    days = Retention(settings.timeline_days * DAY_SECONDS, audit_seconds=settings.audit_days * DAY_SECONDS)
    return {
        "housekeeping": RetentionTask(database, days, clock).run,
        "outage": OutageLogFilter(database.check).run,
        "uploads": UploadCleanup(storage).run,
    }


def create_http_limits(settings: Settings) -> HttpLimits:
    """Collect the limits of HTTP connections."""
    connections = ConnectionLimits(settings.max_connections, settings.max_connections_per_address)
    return HttpLimits(connections=connections)


def create_authenticator(
    settings: Settings, master: bytes, origins: OriginPolicy, keys: KeyRing, clock: Clock
) -> Authenticator:
    """Create what finds the user of a request; its tickets are signed with a key of the master's."""
    quotas = {
        RouteClass.READS: settings.rate_limit_reads,
        RouteClass.WRITES: settings.rate_limit_writes,
        RouteClass.WEBHOOK_SENDS: settings.rate_limit_webhook_sends,
    }
    limits = RateLimits(quotas, clock.monotonic)
    ticket_key = derive_key(master, "stream tickets")
    verifier, keeps = create_verifier(settings), settings.audit_addresses
    return Authenticator(verifier, ticket_key, origins, keys, limits, keeps_addresses=keeps)


def create_verifier(settings: Settings) -> Verifier | None:
    """Create the verifier of tokens; None if the service has a single local user."""
    audience, issuer = settings.auth_audience, settings.auth_issuer
    if settings.auth_jwt_secret:
        secret = settings.auth_jwt_secret.get_secret_value()
        return SharedSecretVerifier(secret, audience=audience, issuer=issuer)
    if settings.auth_jwks_url:
        return JwksVerifier(settings.auth_jwks_url, audience=audience, issuer=issuer)
    return None


def load_master_keys(settings: Settings) -> tuple[bytes, ...]:
    """Load the secrets from which keys of attempts are derived, the newest first."""
    if settings.callback_secret:
        return tuple(secret.get_secret_value().encode() for secret in settings.callback_secret)
    return (_load_secret(settings.data_dir / "callback_secret"),)


def _load_secret(path: Path) -> bytes:
    """Load the secret in the data folder, or create it at the first start.

    Only its owner may read the file.
    """
    if not path.exists():
        part = path.with_suffix(".part")
        part.unlink(missing_ok=True)
        part.touch(mode=0o600)
        with part.open("w") as file:
            file.write(secrets.token_urlsafe(48))
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    secret = path.read_bytes()
    if len(secret) < MIN_SECRET_BYTES:  # after a full disk or a power failure
        raise BadSettings(
            f"DATA_DIR: {path} is shorter than {MIN_SECRET_BYTES} bytes; restore it, or delete it to get a new one"
        )
    return secret


def derive_key(master: bytes, purpose: str) -> bytes:
    """Derive a separate key for each purpose."""
    return hmac.digest(master, purpose.encode(), "sha256")
