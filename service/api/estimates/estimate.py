"""`POST /api/exports/estimate`: what an export would take, or why it would fail."""

from starlette.requests import Request
from starlette.responses import Response

from service.api.create_export import CreateExport, to_export_request
from service.api.openapi.operations import Body, Tag, declare_operation
from service.api.requests import json_response, read_json
from service.api.state import State
from service.estimates.estimate import Estimate
from service.ingest.prober import TooManyProbes, UnreadableSource
from service.keys.scopes import Scope


@declare_operation(
    "estimate_export",
    Tag.EXPORTS,
    body=Body(CreateExport),
    answers={200: Estimate},
    scope=Scope.EXPORTS_READ,
    problems=(UnreadableSource, TooManyProbes),
)
async def estimate(request: Request[State]) -> Response:
    """Estimate an export without creating it; the body is that of `POST /api/exports`.

    Reads headers, streams and first pictures of its sources. An error that they would end the export with is answered
    with its code and sentence, and names the field of the config.
    """
    state = request.state
    user_id = await state["authenticator"].user(request)
    body, _ = await read_json(request, CreateExport)
    return json_response(await state["estimator"].estimate(user_id, to_export_request(request, body)))
