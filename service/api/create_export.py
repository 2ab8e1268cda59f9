"""`POST /api/exports`: a durable row, before anything else."""

import hashlib
import re
import time
from typing import Annotated, Any, Self

import msgspec
import pydantic
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from gpu.config import ExportConfig
from gpu.export_types.registry import ExportTypeName, find_export_type, parse_config
from infra.storage import OutsideStorage
from service.api.exports import check_output_key, check_quota
from service.api.requests import NO_NUL_PATTERN, StrictModel, invalid_from, json_response, read_json
from service.api.state import State
from service.api.transfers.uploads import UPLOADS_PREFIX
from service.api.webhooks import Events, Url, check_url, sort_events
from service.jobs import queries, transitions
from service.jobs.ids import new_id
from service.jobs.models import IdempotencyKey, Job
from service.problems import FieldError, Invalid
from service.webhooks import endpoints, serializers
from service.webhooks.models import Endpoint

MAX_IDEMPOTENCY_KEY = 255
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
"""https://www.w3.org/TR/trace-context/#traceparent-header, version 00."""


class CreateExport(StrictModel):
    """The body of `POST /api/exports`; `config` is checked by its type.

    `webhook_url` is an endpoint of this export alone; without `webhook_events` it is told of all but progress.
    """

    type: ExportTypeName
    config: dict[str, Any]
    project_id: Annotated[str, pydantic.Field(max_length=200, pattern=NO_NUL_PATTERN)] | None = None
    webhook_url: Url | None = None
    webhook_events: Events | None = None

    @pydantic.model_validator(mode="after")
    def _has_a_target(self) -> Self:
        if self.webhook_events is not None and self.webhook_url is None:
            raise ValueError("webhook_events goes with webhook_url")
        return self


async def create(request: Request[State]) -> Response:
    """Write a durable row and wake the dispatcher; the run itself is not waited for."""
    user_id = await request.state["authenticator"].user(request)
    asked, raw = await read_json(request, CreateExport)
    try:
        config = parse_config(asked.type, asked.config)
    except pydantic.ValidationError as error:
        raise invalid_from(error, "config") from None
    key = _idempotency_key(request)
    async with request.state["database"].reading() as session:
        job = await _find_earlier(session, user_id, key, raw)
    if job is None:
        await _check_sources(request, user_id, config)
        _check_output_place(request, user_id, config)
        if asked.webhook_url is not None:
            await check_url(request, asked.webhook_url, "webhook_url")
        job = await _submit_once(request, user_id, asked, config, key, raw)
    own = await _own_endpoint(request, job) if asked.webhook_url is not None else None
    shown = request.state["view"].to_dict(job)
    return json_response(
        shown | ({"webhook": serializers.endpoint_to_dict_with_secret(own)} if own else {}),
        202,
        {"Location": f"/api/exports/{job.job_id}"},
    )


async def _submit_once(
    request: Request[State],
    user_id: str,
    asked: CreateExport,
    config: ExportConfig,
    key: str | None,
    raw: bytes,
) -> Job:
    """The new job; or the one that the same request made while this one was on its way."""
    async with request.state["database"].transaction() as session:
        await transitions.lock_user(session, user_id)
        if (earlier := await _find_earlier(session, user_id, key, raw)) is not None:
            return earlier
        await check_quota(request, session, user_id)
        if config.output_key is not None:
            await check_output_key(session, user_id, config.output_key)
        job = await _submit(request, session, user_id, asked, config)
        if key:
            await _store_idempotency_key(session, user_id, key, raw, job)
    request.state["publish"](job)
    request.state["dispatcher"].wake()
    return job


async def _own_endpoint(request: Request[State], job: Job) -> Endpoint | None:
    async with request.state["database"].reading() as session:
        found = await endpoints.list_by_job(session, job.user_id, job.job_id)
    return found[0] if found else None


async def _submit(
    request: Request[State], session: AsyncSession, user_id: str, asked: CreateExport, config: ExportConfig
) -> Job:
    now = time.time()
    job_id = new_id(now)
    if asked.webhook_url is not None:
        events = sort_events(asked.webhook_events or endpoints.DEFAULT_EVENTS)
        await endpoints.create(session, user_id, asked.webhook_url, events=events, job_id=job_id, now=now)
    submission = transitions.Submission(
        job_id=job_id,
        user_id=user_id,
        type=asked.type,
        config=msgspec.json.encode(asked.config).decode(),
        input_key=config.input_key,
        output_key=config.output_key or f"exports/{job_id}{find_export_type(asked.type).suffix}",
        project_id=asked.project_id,
        traceparent=_traceparent(request),
    )
    return await transitions.submit(
        session,
        submission,
        runner=request.state["runner_name"],
        attempt_limit=request.state["quotas"].attempts,
        now=now,
    )


async def _check_sources(request: Request[State], user_id: str, config: ExportConfig) -> None:
    for key in config.input_keys:
        if await request.state["storage"].find(user_id, key) is None:
            missing = FieldError(
                loc=["config", "input_key"], msg=f"there is no object {key!r}; upload it first"
            )
            raise Invalid(f"There is no object {key!r}; upload it first.", errors=[missing])


def _check_output_place(request: Request[State], user_id: str, config: ExportConfig) -> None:
    """An output goes where nothing of another kind lies; raises Invalid."""
    key = config.output_key
    if key is None:
        return
    try:
        obstructed = request.state["storage"].obstructed(user_id, key)
    except OutsideStorage:
        obstructed = True
    if key.startswith(UPLOADS_PREFIX):
        why = "is where uploads lie"
    elif obstructed:
        why = "can't be a file: a folder or a file is in the way"
    else:
        return
    raise Invalid(
        f"The key {key!r} {why}.", errors=[FieldError(loc=["config", "output_key"], msg=f"it {why}")]
    )


def _traceparent(request: Request[State]) -> str | None:
    """The trace that the request belongs to, for the webhooks that tell of it; anything odd is left out."""
    found = request.headers.get("traceparent", "")
    return found if _TRACEPARENT.fullmatch(found) else None


def _idempotency_key(request: Request[State]) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= MAX_IDEMPOTENCY_KEY:
        raise Invalid(f"Idempotency-Key has 1 to {MAX_IDEMPOTENCY_KEY} characters.")
    return key


async def _find_earlier(session: AsyncSession, user_id: str, key: str | None, raw: bytes) -> Job | None:
    if key is None:
        return None
    row = await session.get(IdempotencyKey, (user_id, key))
    if row is None:
        return None
    if row.body_hash != hashlib.sha256(raw).hexdigest():
        raise Invalid("This Idempotency-Key was used with another body; use a new key for a new export.")
    return await queries.get(session, user_id, row.job_id)


async def _store_idempotency_key(session: AsyncSession, user_id: str, key: str, raw: bytes, job: Job) -> None:
    session.add(
        IdempotencyKey(
            user_id=user_id,
            key=key,
            body_hash=hashlib.sha256(raw).hexdigest(),
            job_id=job.job_id,
            created_at=job.created_at,
        )
    )
