"""`POST /api/batches`: parse up to a thousand requests for exports, each like that of a single one."""

import asyncio
from dataclasses import replace
from typing import Annotated, NotRequired, TypedDict

import msgspec
import pydantic
from starlette.requests import Request
from starlette.responses import Response

from service.api.create_export import CreateExport, parse_idempotency, to_export_request
from service.api.openapi.operations import Answer, Body, Tag, declare_operation
from service.api.openapi.parameters import IDEMPOTENCY_KEY, TRACEPARENT
from service.api.request_ids import Metadata, Name
from service.api.requests import StrictModel, json_response, parse_model, read_body, require_json
from service.api.state import State
from service.batches.models import BatchRequest, SubmittedBatch
from service.exports.checks import StorageQuotaExceeded
from service.exports.each_request import ProblemCollector
from service.exports.models import ExportRequest
from service.jobs.batches.totals import Batch
from service.problems import ExportIdTaken, OutputKeyInUse, QuotaExceeded
from service.webhooks import serializers

MAX_EXPORTS = 1_000
MAX_BATCH_BYTES = 16 * 1024 * 1024
PARSED_AT_ONCE = 25


class BatchLabels(StrictModel):
    """What a batch itself is called."""

    name: Name | None = None
    metadata: Metadata | None = None


class CreateBatch(BatchLabels):
    """The body of `POST /api/batches`; each of `exports` is a body of `POST /api/exports`.

    `name` and `metadata` are those of the batch.
    """

    exports: Annotated[list[CreateExport], pydantic.Field(min_length=1, max_length=MAX_EXPORTS)]


class BatchExport(TypedDict):
    """An export of a batch; `webhook` is that of its `webhook_url`, with its secret, in the first response only."""

    job_id: str
    export_id: str | None
    webhook: NotRequired[serializers.WebhookWithSecret]


class CreatedBatch(Batch):
    """The batch, and the ids of its exports in the order of their requests."""

    exports: list[BatchExport]


@declare_operation(
    "create_batch",
    Tag.BATCHES,
    body=Body(CreateBatch),
    headers=(IDEMPOTENCY_KEY, TRACEPARENT),
    answers={202: Answer("The batch.", CreatedBatch, headers={"Location": "The path of the batch."})},
    problems=(StorageQuotaExceeded, ExportIdTaken, OutputKeyInUse, QuotaExceeded),
)
async def create(request: Request[State]) -> Response:
    """Submit up to 1,000 exports together: all of them are accepted, or none.

    An error names the export that it is about by its index: `errors[].loc` is `["exports", 17, "config", …]`.
    """
    user_id = await request.state["authenticator"].user(request)
    require_json(request)
    raw = await read_body(request, MAX_BATCH_BYTES)
    labels, bodies = _split(raw)
    batch_request = BatchRequest(await _parse_exports(request, bodies), labels.name, labels.metadata)
    submitted = await request.state["batches"].submit(user_id, batch_request, parse_idempotency(request, raw))
    location = {"Location": f"/api/batches/{submitted.batch['batch_id']}"}
    return json_response(_to_answer(submitted), 202, location)


def _split(raw: bytes) -> tuple[BatchLabels, list[msgspec.Raw]]:
    """Return the fields of the batch, and the bodies of its exports as they came; raises Invalid.

    The bodies are parsed one by one later: all together would keep other requests waiting.
    """
    try:
        fields = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        bodies = msgspec.json.decode(fields.pop("exports"), type=list[msgspec.Raw])
    except (msgspec.DecodeError, KeyError, UnicodeDecodeError, RecursionError):
        bodies = []
    if not 1 <= len(bodies) <= MAX_EXPORTS:
        parse_model(CreateBatch, raw)  # says what is wrong
    return parse_model(BatchLabels, msgspec.json.encode(fields)), bodies


async def _parse_exports(request: Request[State], bodies: list[msgspec.Raw]) -> list[ExportRequest]:
    """Parse every body; raises Invalid with the errors of all of them."""
    problems = ProblemCollector()
    requests: list[ExportRequest] = []
    for index, raw in enumerate(bodies):
        if index % PARSED_AT_ONCE == 0:
            await asyncio.sleep(0)  # lets other requests run
        path = ("exports", index)
        with problems.collect(path):
            body = parse_model(CreateExport, bytes(raw))
            requests.append(replace(to_export_request(request, body), path=path))
    problems.raise_first()
    return requests


def _to_answer(submitted: SubmittedBatch) -> CreatedBatch:
    exports: list[BatchExport] = []
    for job in submitted.jobs:
        shown: BatchExport = {"job_id": job.job_id, "export_id": job.export_id}
        if (endpoint := submitted.endpoints.get(job.job_id)) is not None:
            shown["webhook"] = serializers.endpoint_to_dict_with_secret(endpoint)
        exports.append(shown)
    return {**submitted.batch, "exports": exports}
