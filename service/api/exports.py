"""Exports: start, look, list, cancel, retry, acknowledge, download."""

import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any, Literal

import msgspec
import pydantic
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gpu.spec import ExportConfig, ExportType, parse_config
from infra.storage import FolderStorage
from service import jobs, queries
from service.api.files import served
from service.api.parsing import MAX_JOB_ID, answer, json_of, path_id, query_of
from service.api.state import State
from service.errors import (
    AlreadyFinished,
    FieldError,
    Invalid,
    NotComplete,
    NotFound,
    NotRetryable,
    TooMany,
    invalid_from,
)
from service.models import IdempotencyKey, Job, Status

RETRY_AFTER_SECONDS = 10
DOWNLOAD_URL_SECONDS = 3_600
MAX_IDEMPOTENCY_KEY = 255
NO_NUL = r"^[^\x00]*$"  # PostgreSQL holds none in text

JobId = Annotated[str, pydantic.Field(max_length=MAX_JOB_ID, pattern=r"^[!-~]*$")]


class Strict(pydantic.BaseModel):
    """Requests with fields that nobody knows are refused."""

    model_config = pydantic.ConfigDict(extra="forbid")


class CreateExport(Strict):
    """The body of `POST /api/exports`; `config` is checked by its type."""

    type: ExportType
    config: dict[str, Any]
    project_id: Annotated[str, pydantic.Field(max_length=200, pattern=NO_NUL)] | None = None


class ListQuery(Strict):
    """`?status=&type=&limit=&cursor=`."""

    status: Status | None = None
    type: ExportType | None = None
    limit: Annotated[int, pydantic.Field(ge=1, le=200)] = 50
    cursor: JobId | None = None


class RecentQuery(Strict):
    """`?hours=24`."""

    hours: Annotated[float, pydantic.Field(gt=0, le=24 * 366)] = 24


class Acknowledge(Strict):
    """The body of `POST /api/exports/acknowledge`."""

    job_ids: Annotated[list[JobId], pydantic.Field(max_length=1_000)]


async def create(request: Request[State]) -> Response:
    """Write a durable row and wake the dispatcher; the run itself is not waited for."""
    user_id = await request.state["authenticator"].user(request)
    asked, raw = await json_of(request, CreateExport)
    try:
        config = parse_config(asked.type, asked.config)
    except pydantic.ValidationError as error:
        raise invalid_from(error, "config") from None
    key = _idempotency_key(request)
    async with request.state["database"].transaction() as session:
        await jobs.one_at_a_time(session, user_id)
        job = await _earlier(session, user_id, key, raw) if key else None
        new = job is None
        if job is None:
            await _sources_exist(request, user_id, config)
            await _within_quota(request, session, user_id)
            job = await _submit(request, session, user_id, asked, config)
            if key:
                await _remember(session, user_id, key, raw, job)
    if new:
        request.state["hub"].publish(request.state["view"].publication(job))
        request.state["attempts"].wake()
    return _shown(request, job, 202, {"Location": f"/api/exports/{job.job_id}"})


async def list_(request: Request[State]) -> Response:
    """One page, newest first."""
    user_id = await request.state["authenticator"].user(request)
    query = query_of(request, ListQuery)
    async with request.state["database"].reading() as session:
        found = await queries.page(
            session,
            user_id,
            status=query.status,
            type_=query.type,
            before=query.cursor,
            limit=query.limit + 1,
        )
    page, more = found[: query.limit], len(found) > query.limit
    return answer({"exports": _all(request, page), "next_cursor": page[-1].job_id if more else None})


async def active(request: Request[State]) -> Response:
    """What a page that was reloaded picks up again."""
    return await _listed(request, queries.active)


async def unacknowledged(request: Request[State]) -> Response:
    """What finished while the user was away."""
    return await _listed(request, queries.unacknowledged)


async def recent(request: Request[State]) -> Response:
    """Everything that is active or finished lately."""
    since = time.time() - query_of(request, RecentQuery).hours * 3600
    return await _listed(request, partial(queries.recent, since=since))


async def acknowledge(request: Request[State]) -> Response:
    """Mark finished exports as seen."""
    user_id = await request.state["authenticator"].user(request)
    asked, _ = await json_of(request, Acknowledge)
    async with request.state["database"].transaction() as session:
        changed = await jobs.acknowledge(session, user_id, asked.job_ids, now=time.time())
    return answer({"exports": _all(request, changed)})


async def get(request: Request[State]) -> Response:
    """The job."""
    return _shown(request, await found_job(request))


async def cancel(request: Request[State]) -> Response:
    """Cancel, and end the run; cancelling twice is as good as once."""
    job = await found_job(request)
    async with request.state["database"].transaction() as session:
        cancelled = await jobs.cancel(session, job.user_id, job.job_id, now=time.time())
    if cancelled is None:
        job = await found_job(request)
        if job.status is not Status.CANCELLED:
            raise AlreadyFinished
        return _shown(request, job, 202)
    request.state["hub"].publish(request.state["view"].publication(cancelled))
    await request.state["attempts"].abandon(cancelled)
    await request.state["outcomes"].withdraw(cancelled)
    return _shown(request, cancelled, 202)


async def retry(request: Request[State]) -> Response:
    """A new attempt of a failed or cancelled export."""
    job = await found_job(request)
    async with request.state["database"].transaction() as session:
        await jobs.one_at_a_time(session, job.user_id)
        await _within_quota(request, session, job.user_id)
        again = await jobs.retry(
            session, job.user_id, job.job_id, attempts=request.state["quotas"].attempts, now=time.time()
        )
    if again is None:
        raise NotRetryable
    request.state["hub"].publish(request.state["view"].publication(again))
    request.state["attempts"].wake()
    return _shown(request, again, 202)


async def download(request: Request[State]) -> Response:
    """The exported file, by range where asked."""
    job = await found_job(request)
    if job.status is not Status.COMPLETE:
        raise NotComplete(f"The export is {job.status}; only a complete one has a file.")
    storage, name = request.state["storage"], job.output_key.rpartition("/")[2]
    if isinstance(storage, FolderStorage):
        return await served(request, storage, job.user_id, job.output_key, name)
    if await storage.find(job.user_id, job.output_key) is None:
        raise NotFound("The file has been removed.")
    signed = await storage.read_url(
        job.user_id, job.output_key, expires_seconds=DOWNLOAD_URL_SECONDS, filename=name
    )
    return RedirectResponse(signed.url, 307, {"Cache-Control": "no-store"})


async def found_job(request: Request[State]) -> Job:
    """The job in the path, if it is the caller's; raises NotFound."""
    user_id = await request.state["authenticator"].user(request)
    async with request.state["database"].reading() as session:
        job = await queries.get(session, user_id, path_id(request))
    if job is None:
        raise NotFound("There is no such export.")
    return job


Read = Callable[[AsyncSession, str], Awaitable[list[Job]]]


async def _listed(request: Request[State], read: Read) -> Response:
    user_id = await request.state["authenticator"].user(request)
    async with request.state["database"].reading() as session:
        found = await read(session, user_id)
    return answer({"exports": _all(request, found)})


def _all(request: Request[State], found: list[Job]) -> list[dict[str, Any]]:
    return [request.state["view"].show(job) for job in found]


def _shown(
    request: Request[State], job: Job, status: Literal[200, 202] = 200, headers: dict[str, str] | None = None
) -> Response:
    return answer(request.state["view"].show(job), status, headers)


async def _submit(
    request: Request[State], session: AsyncSession, user_id: str, asked: CreateExport, config: ExportConfig
) -> Job:
    now = time.time()
    job_id = new_job_id(now)
    submission = jobs.Submission(
        job_id=job_id,
        user_id=user_id,
        type=asked.type,
        config=msgspec.json.encode(asked.config).decode(),
        input_key=config.input_key,
        output_key=config.output_key or f"exports/{job_id}.mp4",
        project_id=asked.project_id,
    )
    return await jobs.submit(
        session,
        submission,
        runner=request.state["runner_name"],
        attempt_limit=request.state["quotas"].attempts,
        now=now,
    )


async def _sources_exist(request: Request[State], user_id: str, config: ExportConfig) -> None:
    for key in config.input_keys:
        if await request.state["storage"].find(user_id, key) is None:
            missing = FieldError(
                loc=["config", "input_key"], msg=f"there is no object {key!r}; upload it first"
            )
            raise Invalid(f"There is no object {key!r}; upload it first.", errors=[missing])


async def _within_quota(request: Request[State], session: AsyncSession, user_id: str) -> None:
    limit = request.state["quotas"].queued
    if await queries.count_active(session, user_id) >= limit:
        raise TooMany(
            f"{limit} exports are waiting or running already.",
            headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
        )


def _idempotency_key(request: Request[State]) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= MAX_IDEMPOTENCY_KEY:
        raise Invalid(f"Idempotency-Key has 1 to {MAX_IDEMPOTENCY_KEY} characters.")
    return key


async def _earlier(session: AsyncSession, user_id: str, key: str, raw: bytes) -> Job | None:
    row = await session.get(IdempotencyKey, (user_id, key))
    if row is None:
        return None
    if row.body_hash != hashlib.sha256(raw).hexdigest():
        raise Invalid("This Idempotency-Key was used with another body.")
    return await queries.get(session, user_id, row.job_id)


async def _remember(session: AsyncSession, user_id: str, key: str, raw: bytes, job: Job) -> None:
    session.add(
        IdempotencyKey(
            user_id=user_id,
            key=key,
            body_hash=hashlib.sha256(raw).hexdigest(),
            job_id=job.job_id,
            created_at=job.created_at,
        )
    )


def new_job_id(now: float) -> str:
    """A UUIDv7 (RFC 9562): ids sort by time, so lists need no other order."""
    value = (
        (int(now * 1000) << 80) | (7 << 76) | (secrets.randbits(12) << 64) | (2 << 62) | secrets.randbits(62)
    )
    digits = f"{value:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
