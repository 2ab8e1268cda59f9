"""Settings that don't fit together: each is a sentence that names them and what to do."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from service.web_addresses import ANY_ORIGIN, is_loopback

if TYPE_CHECKING:
    from service.settings.model import Settings


def find_conflicts(settings: "Settings") -> Iterator[str]:
    """Yield a sentence for each combination with which the service can't work.

    A sentence names every setting that it depends on: where one of these is invalid by itself, it is left out.
    """
    yield from _find_storage_conflicts(settings)
    yield from _find_identity_conflicts(settings)
    yield from _find_modal_conflicts(settings)
    if settings.metrics_port == settings.port:
        yield "METRICS_PORT and PORT are the same; use another port for the metrics"


def _find_storage_conflicts(settings: "Settings") -> Iterator[str]:
    endpoint, bucket = settings.r2_endpoint_url, settings.r2_bucket_name
    values = (endpoint, settings.r2_access_key_id, settings.r2_secret_access_key, bucket)
    if any(values) and not all(values):
        yield "R2_ENDPOINT_URL, R2_ACCESS_KEY_ID, R2_SECRET_ACCESS_KEY and R2_BUCKET_NAME must be set together"
    elif endpoint and bucket and endpoint.rstrip("/").endswith(f"/{bucket}"):
        yield f"R2_ENDPOINT_URL ends with R2_BUCKET_NAME; remove /{bucket} from its end"


def _find_identity_conflicts(settings: "Settings") -> Iterator[str]:
    if settings.auth_jwt_secret and settings.auth_jwks_url:
        yield "set AUTH_JWT_SECRET or AUTH_JWKS_URL, not both"
    if settings.authenticated:
        return
    if not is_loopback(settings.host):
        yield (
            f"HOST {settings.host!r} is not a loopback address: without authentication the service listens "
            "on this machine only; set AUTH_JWT_SECRET or AUTH_JWKS_URL, or leave HOST at 127.0.0.1"
        )
    if ANY_ORIGIN in settings.allowed_origins:
        yield (
            "ALLOWED_ORIGINS: * would let every web page use a service without authentication "
            "(AUTH_JWT_SECRET or AUTH_JWKS_URL); list the origins of your own pages"
        )


def _find_modal_conflicts(settings: "Settings") -> Iterator[str]:
    if bool(settings.modal_token_id) != bool(settings.modal_token_secret):
        yield "MODAL_TOKEN_ID and MODAL_TOKEN_SECRET must be set together"
    if settings.modal_enabled and not settings.callback_secret:
        yield "CALLBACK_SECRET is required with MODAL_ENABLED"
    if settings.modal_enabled and not settings.public_url:
        yield "PUBLIC_URL is required with MODAL_ENABLED: functions post their callbacks there"
