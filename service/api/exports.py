"""Exports: start, look, list, cancel, retry, acknowledge, download."""

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any, Literal

import pydantic
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from gpu.export_types.registry import ExportTypeName
from infra.storage import Stored
from service.api.requests import (
    MAX_JOB_ID,
    StrictModel,
    json_response,
    parse_query,
    path_job_id,
    read_json,
)
from service.api.state import State
from service.api.transfers.downloads import download_response
from service.jobs import queries, transitions
from service.jobs.models import Job, Status
from service.problems import (
    AlreadyFinished,
    AttemptStillEnding,
    FieldError,
    NotComplete,
    NotFound,
    NotRetryable,
    OutputKeyInUse,
    OutputReplaced,
    QuotaExceeded,
)

RETRY_AFTER_SECONDS = 10
RETRYABLE = (Status.ERROR, Status.CANCELLED)
DOWNLOAD_URL_SECONDS = 3_600

JobId = Annotated[str, pydantic.Field(max_length=MAX_JOB_ID, pattern=r"^[!-~]*$")]


class ListQuery(StrictModel):
    """`?status=&type=&limit=&cursor=`."""

    status: Status | None = None
    type: ExportTypeName | None = None
    limit: Annotated[int, pydantic.Field(ge=1, le=200)] = 50
    cursor: JobId | None = None


class RecentQuery(StrictModel):
    """`?hours=24`."""

    hours: Annotated[float, pydantic.Field(gt=0, le=24 * 366)] = 24


class Acknowledge(StrictModel):
    """The body of `POST /api/exports/acknowledge`."""

    job_ids: Annotated[list[JobId], pydantic.Field(max_length=1_000)]


async def list_(request: Request[State]) -> Response:
    """One page, newest first."""
    user_id = await request.state["authenticator"].user(request)
    query = parse_query(request, ListQuery)
    async with request.state["database"].reading() as session:
        found = await queries.list_page(
            session,
            user_id,
            status=query.status,
            type_=query.type,
            before=query.cursor,
            limit=query.limit + 1,
        )
    page, more = found[: query.limit], len(found) > query.limit
    return json_response(
        {"exports": _serialize_jobs(request, page), "next_cursor": page[-1].job_id if more else None}
    )


async def active(request: Request[State]) -> Response:
    """What a page that was reloaded picks up again."""
    return await _list_response(request, queries.list_active)


async def unacknowledged(request: Request[State]) -> Response:
    """What finished while the user was away."""
    return await _list_response(request, queries.list_unacknowledged)


async def recent(request: Request[State]) -> Response:
    """Everything that is active or finished lately."""
    since = time.time() - parse_query(request, RecentQuery).hours * 3600
    return await _list_response(request, partial(queries.list_recent, since=since))


async def acknowledge(request: Request[State]) -> Response:
    """Mark finished exports as seen."""
    user_id = await request.state["authenticator"].user(request)
    asked, _ = await read_json(request, Acknowledge)
    async with request.state["database"].transaction() as session:
        changed = await transitions.acknowledge(session, user_id, asked.job_ids, now=time.time())
    return json_response({"exports": _serialize_jobs(request, changed)})


async def get(request: Request[State]) -> Response:
    """The job."""
    return job_response(request, await load_job(request))


async def cancel(request: Request[State]) -> Response:
    """Cancel, and end the run; cancelling twice is as good as once."""
    job = await load_job(request)
    async with request.state["database"].transaction() as session:
        cancelled = await transitions.cancel(session, job.user_id, job.job_id, now=time.time())
    if cancelled is None:
        job = await load_job(request)
        if job.status is not Status.CANCELLED:
            raise AlreadyFinished
        return job_response(request, job, 202)
    request.state["publish"](cancelled)
    await request.state["run_control"].stop_attempt(cancelled)
    await request.state["outcomes"].delete_output(cancelled)
    return job_response(request, cancelled, 202)


async def retry(request: Request[State]) -> Response:
    """A new attempt of a failed or cancelled export."""
    job = await load_job(request)
    async with request.state["database"].transaction() as session:
        await transitions.lock_user(session, job.user_id)
        await check_quota(request, session, job.user_id)
        await check_output_key(session, job.user_id, job.output_key, besides=job.job_id)
        again = await transitions.retry(
            session, job.user_id, job.job_id, attempts=request.state["quotas"].attempts, now=time.time()
        )
    if again is None:
        now = await load_job(request)
        raise AttemptStillEnding(headers={"Retry-After": "2"}) if now.status in RETRYABLE else NotRetryable
    request.state["publish"](again)
    request.state["dispatcher"].wake()
    return job_response(request, again, 202)


async def download_output(request: Request[State]) -> Response:
    """Send the exported file, by range if the request has one."""
    job = await load_job(request)
    if job.status is not Status.COMPLETE:
        raise NotComplete(f"The export is {job.status}; only a complete one has a file.")
    filename = job.output_key.rpartition("/")[2]
    download = await request.state["storage"].open_download(
        job.user_id, job.output_key, filename=filename, expires_seconds=DOWNLOAD_URL_SECONDS
    )
    if download is not None and not _is_output(download.stored, job):
        raise OutputReplaced
    return download_response(request, download, filename)


def _is_output(stored: Stored, job: Job) -> bool:
    """Check that a stored object is the file that the export made; not every storage knows checksums."""
    return stored.size == job.output_size and stored.checksum in (None, job.output_checksum)


async def load_job(request: Request[State]) -> Job:
    """The job in the path, if it is the caller's; raises NotFound."""
    user_id = await request.state["authenticator"].user(request)
    async with request.state["database"].reading() as session:
        job = await queries.get(session, user_id, path_job_id(request))
    if job is None:
        raise NotFound("There is no such export.")
    return job


Read = Callable[[AsyncSession, str], Awaitable[list[Job]]]


async def _list_response(request: Request[State], read: Read) -> Response:
    user_id = await request.state["authenticator"].user(request)
    async with request.state["database"].reading() as session:
        found = await read(session, user_id)
    return json_response({"exports": _serialize_jobs(request, found)})


def _serialize_jobs(request: Request[State], found: list[Job]) -> list[dict[str, Any]]:
    return [request.state["view"].to_dict(job) for job in found]


def job_response(
    request: Request[State], job: Job, status: Literal[200, 202] = 200, headers: dict[str, str] | None = None
) -> Response:
    return json_response(request.state["view"].to_dict(job), status, headers)


async def check_output_key(
    session: AsyncSession, user_id: str, output_key: str, *, besides: str = ""
) -> None:
    """Raise KeyTaken if another export has the key; to be asked, and acted on, one at a time for a user."""
    holder = await queries.find_key_holder(session, user_id, output_key, now=time.time(), besides=besides)
    if holder is not None:
        taken = f"the export {holder} has this key; name another, or none"
        errors = [FieldError(loc=["config", "output_key"], msg=taken)]
        raise OutputKeyInUse(
            f"The export {holder} has the key {output_key!r}; name another, or none.", errors=errors
        )


async def check_quota(request: Request[State], session: AsyncSession, user_id: str) -> None:
    limit = request.state["quotas"].queued
    if await queries.count_active(session, user_id) >= limit:
        raise QuotaExceeded(
            f"{limit} exports are waiting or running already.",
            headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
        )
