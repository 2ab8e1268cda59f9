"""`POST /api/exports` and `PATCH /api/exports/{job_id}`: parse what clients give exports."""

import hashlib
import json
import re
from typing import Annotated, Any, NotRequired, Self, cast

import pydantic
from starlette.requests import Request
from starlette.responses import Response

from gpu.config import WholeNumber
from gpu.export_types.registry import ExportTypeName, parse_new_config
from infra.telemetry import REQUEST_ID
from service.api.openapi.operations import Answer, Body, Tag, declare_operation
from service.api.openapi.parameters import IDEMPOTENCY_KEY, TRACEPARENT
from service.api.request_ids import ExportId, Metadata, Moment, Name, ProjectId
from service.api.requests import (
    NO_NUL_PATTERN,
    StrictModel,
    invalid_from,
    json_response,
    path_job_id,
    read_json,
)
from service.api.state import State
from service.api.webhooks.bodies import Events, Url, sort_events
from service.costs.control import BudgetExceeded
from service.exports.checks import StorageQuotaExceeded
from service.exports.models import ExportRequest, Idempotency, Schedule
from service.jobs.queue.priorities import Priority
from service.jobs.serializers import Export
from service.problems import AlreadyStarted, Erased, ExportIdTaken, Invalid, OutputKeyInUse, QuotaExceeded
from service.webhooks import serializers
from service.webhooks.endpoints import DEFAULT_EVENTS

TimeLimit = Annotated[float, pydantic.Field(strict=True, gt=0, le=30 * 86_400, allow_inf_nan=False)]
"""In seconds."""
MaxCost = Annotated[float, pydantic.Field(strict=True, gt=0, le=100_000, allow_inf_nan=False)]
"""In US dollars."""
MAX_IDEMPOTENCY_KEY_CHARACTERS = 255
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
"""https://www.w3.org/TR/trace-context/#traceparent-header, version 00."""


class CreateExport(StrictModel):
    """The body of `POST /api/exports`; `config` is checked by its type.

    `webhook_url` is an endpoint of this export alone; without `webhook_events` it gets all events but progress.
    `export_id` is an id of the client's choice; `name` and `metadata` are shown with the export, which lists,
    streams and webhooks find by its metadata. `project_name` is shown by a service with LEGACY_FRONTEND only.
    An export of high `priority` starts before others of the user that came up to some minutes earlier. `not_before` is
    when it may start. It fails if no run starts within `start_within_seconds`, or if it is not complete within
    `deadline_seconds`; both count from the request, or from `not_before`. `expires_in_days`
    after its creation the file of the export is deleted. An export whose attempts have cost `max_cost_usd` is stopped.
    """

    type: ExportTypeName
    config: dict[str, Any]
    project_id: ProjectId | None = None
    project_name: Annotated[str, pydantic.Field(max_length=200, pattern=NO_NUL_PATTERN)] | None = None
    export_id: ExportId | None = None
    name: Name | None = None
    metadata: Metadata | None = None
    expires_in_days: Annotated[int, pydantic.Field(ge=1, le=3_650), WholeNumber] | None = None
    webhook_url: Url | None = None
    webhook_events: Events | None = None
    priority: Priority = Priority.NORMAL
    not_before: Moment | None = None
    start_within_seconds: TimeLimit | None = None
    deadline_seconds: TimeLimit | None = None
    max_cost_usd: MaxCost | None = None

    @pydantic.model_validator(mode="after")
    def _has_url_for_events(self) -> Self:
        if self.webhook_events is not None and self.webhook_url is None:
            raise ValueError("webhook_events needs webhook_url")
        return self


class EditExport(StrictModel):
    """The body of `PATCH /api/exports/{job_id}`: only given fields change.

    `metadata` is replaced as a whole; null or `{}` removes it. Null removes the name or the project.
    `priority` can change while the export is pending.
    """

    name: Name | None = None
    metadata: Metadata | None = None
    project_id: ProjectId | None = None
    priority: Priority = Priority.NORMAL


class SubmittedExport(Export):
    """The export; `webhook` is the endpoint of its `webhook_url`, with its secret, in the first response only."""

    webhook: NotRequired[serializers.WebhookWithSecret]


@declare_operation(
    "create_export",
    Tag.EXPORTS,
    body=Body(CreateExport),
    headers=(IDEMPOTENCY_KEY, TRACEPARENT),
    answers={202: Answer("The export.", SubmittedExport, headers={"Location": "The path of the export."})},
    problems=(StorageQuotaExceeded, ExportIdTaken, OutputKeyInUse, QuotaExceeded, BudgetExceeded),
)
async def create(request: Request[State]) -> Response:
    """Submit an export; the response does not wait for its run."""
    user_id = await request.state["authenticator"].user(request)
    body, raw = await read_json(request, CreateExport)
    submitted = await request.state["exports"].submit(
        user_id, to_export_request(request, body), parse_idempotency(request, raw)
    )
    content = cast(SubmittedExport, request.state["serializer"].to_dict(submitted.job))
    if submitted.endpoint is not None:
        content["webhook"] = serializers.endpoint_to_dict_with_secret(submitted.endpoint)
    return json_response(content, 202, {"Location": f"/api/exports/{submitted.job.job_id}"})


@declare_operation(
    "edit_export",
    Tag.EXPORTS,
    body=Body(EditExport),
    answers={200: Export},
    problems=(AlreadyStarted, Erased),
)
async def edit(request: Request[State]) -> Response:
    """Change the name, the metadata or the project of an export, in any state, or its priority while it waits.

    A change of the export like any other: its `sequence` rises, and streams send it, as `export.progress` after its
    end too.
    """
    user_id = await request.state["authenticator"].user(request)
    job_id = path_job_id(request)
    body, _ = await read_json(request, EditExport)
    job = await request.state["exports"].edit(user_id, job_id, body.model_dump(exclude_unset=True))
    return json_response(request.state["serializer"].to_dict(job))


def to_export_request(request: Request[State], body: CreateExport) -> ExportRequest:
    """Parse the config by its type; raises Invalid."""
    try:
        config = parse_new_config(body.type, body.config)
    except pydantic.ValidationError as error:
        raise invalid_from(error, "config") from None
    return ExportRequest(
        type=body.type,
        config=config,
        raw_config=body.config,
        project_id=body.project_id,
        project_name=body.project_name,
        export_id=body.export_id,
        expires_in_days=body.expires_in_days,
        body_hash=_hash_body(body) if body.export_id is not None else None,
        webhook_url=body.webhook_url,
        webhook_events=sort_events(body.webhook_events or DEFAULT_EVENTS),
        traceparent=_traceparent(request),
        request_id=REQUEST_ID.get(),
        name=body.name,
        metadata=body.metadata,
        schedule=Schedule(
            priority=body.priority,
            not_before=None if body.not_before is None else body.not_before.timestamp(),
            start_within_seconds=body.start_within_seconds,
            deadline_seconds=body.deadline_seconds,
        ),
        max_cost_usd=body.max_cost_usd,
    )


def _hash_body(body: CreateExport) -> str:
    """Hash what the body says: spaces, the order of fields and fields with their defaults make no difference."""
    content = json.dumps(body.model_dump(mode="json", exclude_defaults=True), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _traceparent(request: Request[State]) -> str | None:
    """Return the trace that the request belongs to, for the export's webhooks.

    None if it is missing or malformed.
    """
    value = request.headers.get("traceparent", "")
    return value if _TRACEPARENT.fullmatch(value) else None


def parse_idempotency(request: Request[State], raw: bytes) -> Idempotency | None:
    """Return the client's key for the request, with the hash of its body; raises Invalid."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not 0 < len(key) <= MAX_IDEMPOTENCY_KEY_CHARACTERS:
        raise Invalid(f"Idempotency-Key must have 1 to {MAX_IDEMPOTENCY_KEY_CHARACTERS} characters.")
    return Idempotency(key, hashlib.sha256(raw).hexdigest())
