"""Settings that work, but seldom as they are meant: a sentence for each, which names them and what to do."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from infra.database.postgresql import is_postgresql
from service.settings.model import Settings
from service.web_addresses import is_own_machine

MIN_DIFFERENT_CHARACTERS = 8


def find_warnings(settings: Settings) -> Iterator[str]:
    """Yield a sentence for each setting that an operator should look at."""
    yield from _find_token_warnings(settings)
    yield from _find_secret_warnings(settings)
    yield from _find_address_warnings(settings)
    yield from _find_limit_warnings(settings)


def _find_token_warnings(settings: Settings) -> Iterator[str]:
    if settings.authenticated and settings.auth_audience is None:
        yield (
            "AUTH_AUDIENCE is not set: tokens that were issued for other services are accepted; "
            "set it to the audience of tokens for this service"
        )
    url = settings.auth_jwks_url
    if url and url.startswith("http:") and not is_own_machine(url):
        yield "AUTH_JWKS_URL is not https: others on the network could replace the keys; use https"
    if not settings.authenticated:
        names = [name for name in ("auth_audience", "auth_issuer", "operators") if getattr(settings, name)]
        for name in names:
            yield f"{name.upper()} has no effect without authentication; set AUTH_JWT_SECRET or AUTH_JWKS_URL"


def _find_secret_warnings(settings: Settings) -> Iterator[str]:
    single = (("AUTH_JWT_SECRET", settings.auth_jwt_secret), ("METRICS_TOKEN", settings.metrics_token))
    secrets = [(name, secret) for name, secret in single if secret]
    secrets += [("CALLBACK_SECRET", secret) for secret in settings.callback_secret]
    if not settings.callback_secret and is_postgresql(settings.database_url or ""):
        yield (
            "CALLBACK_SECRET is not set: replicas with a DATA_DIR of their own would each make one, and refuse what "
            "others have signed; set the same for all"
        )
    names_by_value: dict[str, list[str]] = {}
    for name, secret in secrets:
        names_by_value.setdefault(secret.get_secret_value(), []).append(name)
    for value, names in names_by_value.items():
        if len(names) > 1:
            yield f"{' and '.join(names)} are the same secret; make one for each: openssl rand -hex 32"
        if len(set(value)) < MIN_DIFFERENT_CHARACTERS:
            yield f"{names[0]} can be guessed: it has few different characters; use openssl rand -hex 32"


def _find_address_warnings(settings: Settings) -> Iterator[str]:
    if path := urlsplit(settings.origin).path:
        yield (
            f"PUBLIC_URL ends with {path}: the console and the portal work at the root of a host only; give the "
            "service a host of its own"
        )
    if settings.authenticated and not settings.public_url:
        yield (
            f"PUBLIC_URL is not set: the URLs that clients get begin with {settings.origin}; set it to the address at "
            "which they reach the service"
        )
    elif (
        settings.authenticated and settings.origin.startswith("http:") and not is_own_machine(settings.origin)
    ):
        yield "PUBLIC_URL is not https: tokens and videos can be read on the way; put TLS in front"


def _find_limit_warnings(settings: Settings) -> Iterator[str]:
    if settings.max_active_per_user > settings.max_queued_per_user:
        yield (
            "MAX_ACTIVE_PER_USER is greater than MAX_QUEUED_PER_USER, which counts running exports too; "
            "raise MAX_QUEUED_PER_USER"
        )
    if 0 < settings.max_cost_per_day_usd < settings.max_cost_per_user_day_usd:
        yield (
            "MAX_COST_PER_USER_DAY_USD is greater than MAX_COST_PER_DAY_USD, so one user can use up "
            "the budget of all; lower it"
        )
    if settings.max_streams_per_user > settings.max_streams:
        yield "MAX_STREAMS_PER_USER is greater than MAX_STREAMS, so one user can take all streams; lower it"
