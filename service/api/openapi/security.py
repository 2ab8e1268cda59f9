"""How requests are authorized, as the document says it."""

from typing import Final

from openapi_pydantic import SecurityScheme

from service.api.access.scopes import find_scope
from service.api.auth import COOKIE_NAME
from service.api.openapi.operations import OF_USER, Credential, Operation
from service.keys.key_format import PREFIX
from service.keys.scopes import Scope

SECURITY_SCHEMES: Final = {
    "bearer": SecurityScheme(
        type="http",
        scheme="bearer",
        bearerFormat="JWT",
        description="A JWT whose `sub` is the id of the user. A service without `AUTH_JWT_SECRET` and `AUTH_JWKS_URL` "
        "has one local user and asks for no token.",
    ),
    "api_key": SecurityScheme(
        type="http",
        scheme="bearer",
        bearerFormat=f"{PREFIX}…",
        description="An API key of `POST /api/keys`, in the place of a token. It needs the scope that an operation "
        f"names: {', '.join(f'`{scope}`' for scope in Scope)}.",
    ),
    "cookie": SecurityScheme(
        type="apiKey",
        name=COOKIE_NAME,
        security_scheme_in="cookie",
        description="The same token as a cookie, for pages of the service's own origin and those of ALLOWED_ORIGINS.",
    ),
    "ticket": SecurityScheme(
        type="apiKey",
        name="ticket",
        security_scheme_in="query",
        description="A ticket of `POST /api/stream-tickets`, for streams and sockets of browsers.",
    ),
    "url_token": SecurityScheme(
        type="apiKey",
        name="token",
        security_scheme_in="query",
        description="Part of a signed URL that the service returned; it is good for that URL alone.",
    ),
    "metrics_token": SecurityScheme(
        type="http",
        scheme="bearer",
        description="The token in `METRICS_TOKEN`. Metrics on a port of their own (`METRICS_PORT`) need none.",
    ),
    "run_signature": SecurityScheme(
        type="apiKey",
        name="webhook-signature",
        security_scheme_in="header",
        description="A signature of Standard Webhooks over `webhook-id`, `webhook-timestamp` and the body, with the "
        "key of the attempt.",
    ),
}

_REQUIREMENTS: Final[dict[Credential, list[dict[str, list[str]]]]] = {
    Credential.USER: [{"bearer": []}, {"cookie": []}],
    Credential.STREAM: [{"bearer": []}, {"cookie": []}, {"ticket": []}],
    Credential.RUN: [{"run_signature": []}],
    Credential.URL: [{"url_token": []}],
    Credential.METRICS: [{"metrics_token": []}, {}],
    Credential.ANYONE: [],
}


def list_requirements(
    operation: Operation, method: str, *, asks_for_tokens: bool
) -> list[dict[str, list[str]]]:
    """Return the alternatives; a service with one local user needs no token."""
    requirements = list(_REQUIREMENTS[operation.credential])
    if operation.credential in OF_USER:
        scope = find_scope(operation, method)
        requirements[:0] = [] if asks_for_tokens else [{}]
        requirements += [] if scope is None else [{"api_key": [scope.value]}]
    return requirements
