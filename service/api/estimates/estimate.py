"""`POST /api/exports/estimate`: what an export would take, or why it would fail."""

from starlette.requests import Request
from starlette.responses import Response

from gpu.spec import DescribedSource
from service.api.create_export import CreateExport, to_export_request
from service.api.openapi.operations import Body, Tag, declare_operation
from service.api.requests import json_response, read_json
from service.api.state import State
from service.estimates.estimate import ABSENT_KEY, Estimate
from service.ingest.prober import TooManyProbes, UnreadableSource
from service.keys.scopes import Scope
from service.problems import FieldError, Invalid, TooLarge


class EstimateExport(CreateExport):
    """The body of an export; `source` describes a file that is not uploaded yet, in place of `config.input_key`."""

    source: DescribedSource | None = None


@declare_operation(
    "estimate_export",
    Tag.EXPORTS,
    body=Body(EstimateExport),
    answers={200: Estimate},
    scope=Scope.EXPORTS_READ,
    problems=(UnreadableSource, TooManyProbes, TooLarge),
)
async def estimate(request: Request[State]) -> Response:
    """Estimate an export without creating it; the body is that of `POST /api/exports`.

    Reads headers, streams and first pictures of its sources. An error that they would end the export with is answered
    with its code and sentence, and names the field of the config.
    """
    state = request.state
    user_id = await state["authenticator"].user(request)
    body, _ = await read_json(request, EstimateExport)
    source = body.source
    if source is not None:
        _check_source(source, body, limit=state["limits"].upload_bytes)
        body = body.model_copy(update={"config": body.config | {"input_key": ABSENT_KEY}})
    content = await state["estimator"].estimate(user_id, to_export_request(request, body), source)
    return json_response(content)


def _check_source(source: DescribedSource, body: EstimateExport, *, limit: int) -> None:
    """Raise Invalid if there are two sources, and TooLarge if the file can't be uploaded."""
    if "input_key" in body.config:
        reason = "Give either `source` or `config.input_key`."
        raise Invalid(reason, errors=[FieldError(loc=["source"], msg=reason)])
    if source.size > limit:
        raise TooLarge(f"A file may have at most {limit} bytes.")
