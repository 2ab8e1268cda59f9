"""What the settings ask for, built: storage, runner, verifier, middleware, keys. `create_app` puts them together."""

import hmac
import logging
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from infra.database.postgresql import is_postgresql
from infra.egress import EgressClient, EgressPolicy
from infra.storage import FolderStorage, Storage
from infra.storage.disk_reserve import DiskReserve
from infra.storage.signed import UrlSigner
from service.api.auth import JwksVerifier, SharedSecretVerifier, Verifier
from service.dispatch.attempt_specs import SpecBuilder
from service.dispatch.observation import Limits
from service.dispatch.runners import LocalRunner, Runner
from service.dispatch.transfer_plan import TransferPlanner
from service.http_server.limits import ConnectionLimits, HttpLimits
from service.ingest.prober import Prober
from service.settings import MIN_SECRET_BYTES, BadSettings, Settings
from service.webhooks.worker import WorkerConfig

if TYPE_CHECKING:
    from infra.storage.client import S3Config

logger = logging.getLogger("framehook.settings")

MAX_OUTPUT_PROBES = 4
OUTPUT_PROBE_SECONDS = 60.0
DELIVERY_LEASE_TIMEOUTS = 4
"""The lease of a delivery lasts this many times as long as one attempt may take."""


def create_runner(settings: Settings) -> Runner:
    """Where runs take place: on Modal, or here."""
    if settings.modal_enabled:
        from service.dispatch.runners.modal import ModalRunner

        return ModalRunner(
            settings.modal_app_name,
            settings.modal_token,
            gpu=settings.modal_gpu,
            max_retry_seconds=settings.silence_seconds / 2,
            spawn_seconds=min(20.0, settings.lease_seconds * 2 / 3),
        )
    shared = settings.database_url is not None and is_postgresql(settings.database_url)
    return LocalRunner(
        settings.data_dir / "scratch",
        settings.local_workers,
        alone=not shared,
        reserve=DiskReserve((settings.data_dir / "incoming").absolute()),
    )


def create_storage(settings: Settings, master: bytes) -> Storage:
    """The bucket that the settings name, or the folder."""
    place = bucket_config(settings)
    if place is None:
        return FolderStorage(settings.data_dir, UrlSigner(settings.origin, derive_key(master, "files")))
    from infra.storage.client import Bucket  # boto3 takes half a second to import, and only here
    from infra.storage.s3 import S3Storage

    return S3Storage(Bucket(place))


def bucket_config(settings: Settings) -> "S3Config | None":
    """Where the bucket is, if files are kept in one."""
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


def create_spec_builder(
    settings: Settings, storage: Storage, runner: Runner, master_key: bytes
) -> SpecBuilder:
    """Create what writes the spec of an attempt, with the URLs of its transfers."""
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
    """How many runs at once, how long, how often looked at."""
    return Limits(
        per_user=settings.max_active_per_user,
        deadline_seconds=settings.attempt_deadline_seconds,
        queue_seconds=settings.queue_deadline_seconds,
        silence_seconds=settings.silence_seconds,
        lease_seconds=settings.lease_seconds,
        finalize_lease_seconds=settings.finalize_lease_seconds,
        rescue_interval_seconds=settings.watch_seconds,
    )


def create_egress_client(settings: Settings) -> EgressClient:
    """Create the client that sends webhooks."""
    policy = EgressPolicy(
        settings.webhook_allowed_networks,
        settings.webhook_allow_http,
        networks_setting="WEBHOOK_ALLOWED_NETWORKS",
        http_setting="WEBHOOK_ALLOW_HTTP",
    )
    return EgressClient(policy, total_seconds=settings.webhook_timeout_seconds)


def create_delivery_config(settings: Settings) -> WorkerConfig:
    """Derive the lease of a delivery from how long one attempt may take."""
    return WorkerConfig(lease_seconds=DELIVERY_LEASE_TIMEOUTS * settings.webhook_timeout_seconds)


def create_output_prober() -> Prober:
    """Create the prober of outputs, whose processes take nothing away from those that probe uploads."""
    return Prober(places=MAX_OUTPUT_PROBES, seconds=OUTPUT_PROBE_SECONDS)


def create_http_limits(settings: Settings) -> HttpLimits:
    """What clients may take up."""
    connections = ConnectionLimits(settings.max_connections, settings.max_connections_per_address)
    return HttpLimits(connections=connections)


def create_verifier(settings: Settings) -> Verifier | None:
    """Who says which user a token stands for; None where there is one user."""
    audience, issuer = settings.auth_audience, settings.auth_issuer
    if settings.authenticated and audience is None:
        logger.warning(
            "AUTH_AUDIENCE is not set: tokens are accepted that were issued for any other service as well; "
            "set it to the audience that tokens for this one name"
        )
    if settings.auth_jwt_secret:
        secret = settings.auth_jwt_secret.get_secret_value()
        return SharedSecretVerifier(secret, audience=audience, issuer=issuer)
    if settings.auth_jwks_url:
        return JwksVerifier(settings.auth_jwks_url, audience=audience, issuer=issuer)
    return None


def load_master_keys(settings: Settings) -> tuple[bytes, ...]:
    """What attempts' keys are derived from, the newest first."""
    if settings.callback_secret:
        return tuple(secret.get_secret_value().encode() for secret in settings.callback_secret)
    return (_load_secret(settings.data_dir / "callback_secret"),)


def _load_secret(path: Path) -> bytes:
    """The secret in the data folder, made at the first start; nobody but the owner may read it."""
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
    if len(secret) < MIN_SECRET_BYTES:  # a disk that was full, or a power cut
        raise BadSettings(
            f"DATA_DIR: {path} holds no secret of {MIN_SECRET_BYTES} bytes; restore it, or remove it for a new one"
        )
    return secret


def derive_key(master: bytes, purpose: str) -> bytes:
    """A key of its own for each purpose."""
    return hmac.digest(master, purpose.encode(), "sha256")
