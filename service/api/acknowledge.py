"""`POST /api/exports/acknowledge`: mark finished exports as seen."""

from typing import Annotated

import pydantic
from starlette.requests import Request
from starlette.responses import Response

from service.api.exports import ExportList, serialize_jobs
from service.api.openapi.operations import Body, Tag, declare_operation
from service.api.request_ids import JobId
from service.api.requests import StrictModel, json_response, parse_model, read_body, require_json
from service.api.state import State
from service.jobs import acknowledgements

JobIds = Annotated[list[JobId], pydantic.Field(max_length=1_000)]


class Acknowledge(StrictModel):
    """The body of `POST /api/exports/acknowledge`; without ids it means all finished exports."""

    job_ids: JobIds | None = None


class AcknowledgeList(pydantic.RootModel[JobIds]):
    """The same body as a bare list of ids."""


@declare_operation(
    "acknowledge_exports",
    Tag.EXPORTS,
    body=Body(Acknowledge | AcknowledgeList | None, required=False),
    answers={200: ExportList},
)
async def acknowledge(request: Request[State]) -> Response:
    """Mark finished exports as seen by the user: those in the body, or all."""
    user_id = await request.state["authenticator"].user(request)
    ids = await _read_ids(request)
    now = request.state["clock"].wall()
    async with request.state["database"].transaction() as session:
        if ids is None:
            jobs = await acknowledgements.acknowledge_all(session, user_id, now=now)
        else:
            jobs = await acknowledgements.acknowledge(session, user_id, ids, now=now)
    return json_response(ExportList(exports=serialize_jobs(request, jobs)))


async def _read_ids(request: Request[State]) -> list[str] | None:
    """Return the ids in the body, an object or a bare list; None if it names none."""
    raw = await read_body(request)
    text = raw.strip()
    if not raw or text == b"null":
        return None
    require_json(request)
    if text.startswith(b"["):
        return parse_model(AcknowledgeList, raw).root
    return parse_model(Acknowledge, raw).job_ids
