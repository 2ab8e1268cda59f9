"""`GET /openapi.json`: the document, made of the routes, what they declare, and the export types."""

import asyncio
import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from gpu.export_types.base import ExportType
from gpu.export_types.registry import get_export_types
from service.api.openapi.operations import (
    Answer,
    Credential,
    Operation,
    Tag,
    declare_operation,
    find_operation,
)
from service.api.problem_handlers import ProblemDetails
from service.api.state import State

if TYPE_CHECKING:
    from openapi_pydantic import PathItem

    from service.api.openapi.problem_responses import ProblemResponses

OPENAPI = "3.1.0"
DESCRIPTION = """\
Framehook crops, highlights and cuts videos. Upload a source, submit an export, watch it, download the result.
[The guides](/docs/guides/readme) explain each step.

Every error is a problem of RFC 9457 with a `code` that never changes. Other methods of a path are
answered with 405 and `Allow`. Answers to users have `RateLimit` and `RateLimit-Policy`
(draft-ietf-httpapi-ratelimit-headers-11); a request too many is answered with 429 and `Retry-After`.
"""
TAG_DESCRIPTIONS = {
    Tag.EXPORTS: "Submit exports, list, cancel, retry and download them.",
    Tag.BATCHES: "Submit up to 1,000 exports together, follow and cancel them as one.",
    Tag.STREAMS: "Server-Sent Events and WebSockets: the state of exports as it changes.",
    Tag.UPLOADS: "Upload source videos, whole or in parts.",
    Tag.WEBHOOKS: "Your URLs that are told of changes.",
    Tag.DELIVERIES: "What was sent to a webhook, and what it responded.",
    Tag.KEYS: "API keys, which programs send in the place of a token.",
    Tag.RUNS: "How runs report; signed with the key of an attempt.",
    Tag.OPERATION: "Health, readiness and metrics.",
    Tag.DOCUMENTS: "This document and the pages of the service.",
}


class Undeclared(Exception):
    """A route has no operation."""


@declare_operation(
    "get_openapi_document",
    Tag.DOCUMENTS,
    credential=Credential.ANYONE,
    answers={
        200: Answer("The document.", model=dict[str, Any], headers={"ETag": "The version."}),
        304: Answer("The document is the one with the `ETag` of `If-None-Match`."),
    },
)
async def get_document(request: Request[State]) -> Response:
    """Get this document: OpenAPI 3.1 of all routes."""
    content, etag = await asyncio.to_thread(  # the first time it takes a while
        _encode_document, request.state["authenticator"].asks_for_tokens
    )
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type="application/json", headers=headers)


@cache
def _encode_document(asks_for_tokens: bool) -> tuple[bytes, str]:
    from service.api.routes import ROUTES  # one of them is the route of this document

    content = encode_document(ROUTES, get_export_types().load_all(), asks_for_tokens=asks_for_tokens)
    return content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def encode_document(
    routes: Sequence[BaseRoute], export_types: Iterable[ExportType], *, asks_for_tokens: bool = True
) -> bytes:
    """Return the document of the routes as JSON; raises Undeclared."""
    from openapi_pydantic import Components, Info, OpenAPI, Server  # slow to import, seldom needed
    from openapi_pydantic import Tag as DocumentedTag

    from service.api.openapi.problem_responses import ProblemResponses
    from service.api.openapi.schemas import build_components
    from service.api.openapi.security import SECURITY_SCHEMES

    problem_responses = ProblemResponses()
    models = [model for _, _, operation, _ in list_operations(routes) for model in list_models(operation)]
    document = OpenAPI(
        openapi=OPENAPI,
        info=Info(title="Framehook", version=version("framehook"), description=DESCRIPTION),
        servers=[Server(url="/", description="The service that serves this document.")],
        tags=[DocumentedTag(name=tag, description=TAG_DESCRIPTIONS[tag]) for tag in Tag],
        paths=_build_paths(routes, problem_responses, asks_for_tokens=asks_for_tokens),
        components=Components(
            schemas=build_components([ProblemDetails, *models], export_types),
            responses=problem_responses.components,
            securitySchemes=SECURITY_SCHEMES,
        ),
    )
    return document.model_dump_json(by_alias=True, exclude_unset=True).encode()


def _build_paths(
    routes: Sequence[BaseRoute], problem_responses: "ProblemResponses", *, asks_for_tokens: bool
) -> "dict[str, PathItem]":
    """Return the operations of each path; a second route of one handler gets an id of its own."""
    from openapi_pydantic import PathItem

    from service.api.openapi.rendering import render_operation

    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    uses: Counter[str] = Counter()
    for path, method, operation, docstring in list_operations(routes):
        uses[operation.id] += 1
        suffix = f"_{uses[operation.id]}" if uses[operation.id] > 1 else ""
        paths[path][method] = render_operation(
            operation,
            docstring,
            problem_responses,
            operation_id=operation.id + suffix,
            path_names=re.findall(r"{(\w+)}", path),
            asks_for_tokens=asks_for_tokens,
            method=method,
        )
    return {path: PathItem(**operations) for path, operations in paths.items()}


def list_operations(routes: Sequence[BaseRoute]) -> Iterator[tuple[str, str, Operation, str]]:
    """Yield path, method, operation and docstring of each route; raises Undeclared for one without."""
    sockets = {route.path for route in routes if isinstance(route, WebSocketRoute)}
    for route in routes:
        assert isinstance(route, Route | WebSocketRoute)
        if isinstance(route, Route) and route.path in sockets:
            continue  # it only says that the path is one of a WebSocket, whose operation says the same
        declared = find_operation(route.endpoint)
        if declared is None:
            raise Undeclared(f"{route.path} has no operation: put @declare_operation above its handler")
        methods = (route.methods or set()) - {"HEAD"} if isinstance(route, Route) else {"GET"}
        for method in sorted(methods):
            yield re.sub(r":\w+}", "}", route.path), method.lower(), *declared


def list_models(operation: Operation) -> list[Any]:
    """Return every model that an operation parses or renders as JSON."""
    models = [operation.body.model] if operation.body is not None and operation.body.model else []
    for answer in operation.answers.values():
        models += [answer.model] if answer.model is not None else []
        models += [*answer.events.values(), *answer.messages.values()]
    return models
