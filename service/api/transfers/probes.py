"""`POST /api/uploads/{key}/probe`: list the tracks of an uploaded file."""

from typing import Any, cast

from starlette.requests import Request
from starlette.responses import Response

from gpu.sources.description import SourceDescription
from infra.storage import InvalidKey, StoredObject
from service.api.openapi.operations import Tag, declare_operation
from service.api.requests import json_response
from service.api.state import State
from service.exports.checks import UPLOADS_PREFIX
from service.forecast.work import SourceFacts
from service.ingest.prober import TooManyProbes, UnreadableSource, locate_object
from service.keys.scopes import Scope
from service.problems import NotFound


class ProbedUpload(SourceDescription):
    """What is in an uploaded file."""

    key: str
    size: int


@declare_operation(
    "probe_upload",
    Tag.UPLOADS,
    answers={200: ProbedUpload},
    problems=(UnreadableSource, TooManyProbes),
    scope=Scope.UPLOADS_READ,
)
async def probe(request: Request[State]) -> Response:
    """Probe one of the user's uploads."""
    user_id = await request.state["authenticator"].user(request)
    key, stored = await find_upload(request, user_id)
    source = await locate_object(request.state["storage"], user_id, key)
    description = await request.state["source_prober"].probe(user_id, source)
    if (facts := SourceFacts.of(description)) is not None:
        await request.state["removal"].uploads.record_facts(user_id, key, facts)
    content: dict[str, Any] = {"key": key, "size": stored.size, **description}
    return json_response(cast(ProbedUpload, content))


async def find_upload(request: Request[State], user_id: str) -> tuple[str, StoredObject]:
    """Return the key in the path and the object; raises NotFound if it is no upload of the user."""
    key = str(request.path_params["key"])
    try:
        stored = await request.state["storage"].find(user_id, key) if key.startswith(UPLOADS_PREFIX) else None
    except InvalidKey:
        stored = None
    if stored is None:
        raise NotFound("The upload does not exist.")
    return key, stored
