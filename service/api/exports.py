"""`/api/exports`: list, show, cancel, retry and download exports.

`create_export` creates them, `acknowledge` marks them as seen.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal, TypedDict

import msgspec
import pydantic
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from infra.storage import Disposition, Presentation, StoredObject
from service.api.export_filters import FilterQuery
from service.api.openapi.operations import Answer, Tag, declare_operation
from service.api.openapi.parameters import IF_MATCH, IF_NONE_MATCH, RANGE
from service.api.request_ids import JobId
from service.api.requests import StrictModel, json_response, parse_query, path_job_id
from service.api.state import State
from service.api.transfers.downloads import DOWNLOAD_ANSWERS, DOWNLOAD_PROBLEMS, download_response
from service.costs.control import BudgetExceeded
from service.exports.checks import FileExpired
from service.ingest.output_format import output_format
from service.jobs import queries
from service.jobs.models import Job, Status
from service.jobs.serializers import Export
from service.problems import (
    AlreadyFinished,
    AttemptStillEnding,
    Erased,
    NotComplete,
    NotRetryable,
    OutputKeyInUse,
    OutputReplaced,
    QuotaExceeded,
)

URL_SECONDS = 3_600


class ListQuery(FilterQuery):
    """The filters, and `?limit=&cursor=`."""

    limit: Annotated[int, pydantic.Field(ge=1, le=200)] = 50
    cursor: JobId | None = None


class DeleteQuery(StrictModel):
    """`?purge=true`: erase the export instead of cancelling it."""

    purge: bool = False


class RecentQuery(StrictModel):
    """`?hours=24`."""

    hours: Annotated[float, pydantic.Field(gt=0, le=24 * 366)] = 24


class SubmittedRequest(TypedDict):
    """Type, config and project of an export, as they were submitted."""

    type: str
    config: dict[str, Any]
    project_id: str | int | None


class ExportList(TypedDict):
    """Exports, newest first."""

    exports: list[Export]


class ExportPage(ExportList):
    """One page of exports, newest first; `next_cursor` is the `cursor` of the next page, null on the last."""

    next_cursor: str | None


@declare_operation("list_exports", Tag.EXPORTS, query=ListQuery, answers={200: ExportPage})
async def list_(request: Request[State]) -> Response:
    """List one page of exports, newest first."""
    return await _list_page(request)


@declare_operation("list_project_exports", Tag.EXPORTS, query=ListQuery, answers={200: ExportPage})
async def list_project(request: Request[State]) -> Response:
    """List one page of a project's exports: the same as `?project_id=`."""
    return await _list_page(request, project_id=request.path_params["project_id"])


async def _list_page(request: Request[State], **path_fields: str) -> Response:
    user_id = await request.state["authenticator"].user(request)
    query = parse_query(request, ListQuery, **path_fields)
    async with request.state["database"].reading() as session:
        jobs = await queries.list_page(
            session, user_id, query.to_filter(), before=query.cursor, limit=query.limit + 1
        )
    page, has_more = jobs[: query.limit], len(jobs) > query.limit
    return json_response(
        ExportPage(exports=serialize_jobs(request, page), next_cursor=page[-1].job_id if has_more else None)
    )


@declare_operation("list_active_exports", Tag.EXPORTS, answers={200: ExportList})
async def list_active(request: Request[State]) -> Response:
    """List the exports that are pending or processing, for a page that was reloaded."""
    return await _list_response(request, queries.list_active)


@declare_operation("list_unacknowledged_exports", Tag.EXPORTS, answers={200: ExportList})
async def list_unacknowledged(request: Request[State]) -> Response:
    """List the exports that finished and were not acknowledged."""
    return await _list_response(request, queries.list_unacknowledged)


@declare_operation("list_recent_exports", Tag.EXPORTS, query=RecentQuery, answers={200: ExportList})
async def list_recent(request: Request[State]) -> Response:
    """List the exports that are active or finished in the last `hours`."""

    async def read(session: AsyncSession, user_id: str) -> list[Job]:
        since = request.state["clock"].wall() - parse_query(request, RecentQuery).hours * 3600
        return await queries.list_recent(session, user_id, since=since)

    return await _list_response(request, read)


@declare_operation("get_export", Tag.EXPORTS, answers={200: Export}, problems=(Erased,))
async def get(request: Request[State]) -> Response:
    """Show one export."""
    return job_response(request, await load_job(request))


@declare_operation("get_export_request", Tag.EXPORTS, answers={200: SubmittedRequest}, problems=(Erased,))
async def get_request(request: Request[State]) -> Response:
    """Show what the export was submitted with, for another one like it."""
    job = await load_job(request)
    return json_response(
        SubmittedRequest(type=job.type, config=msgspec.json.decode(job.config), project_id=job.project)
    )


@declare_operation(
    "cancel_export",
    Tag.EXPORTS,
    query=DeleteQuery,
    answers={202: Export, 204: Answer("With `purge`: the export is erased.")},
    problems=(AlreadyFinished, Erased),
)
async def cancel(request: Request[State]) -> Response:
    """Cancel the export and stop its run; cancelling again has the same response.

    With `purge` it is erased for good, in any state: the file, the config, the timeline and what was sent of it.
    """
    user_id = await request.state["authenticator"].user(request)
    if parse_query(request, DeleteQuery).purge:
        await request.state["removal"].eraser.purge(user_id, path_job_id(request))
        return Response(status_code=204)
    job = await request.state["exports"].cancel(user_id, path_job_id(request))
    return job_response(request, job, 202)


@declare_operation(
    "retry_export",
    Tag.EXPORTS,
    answers={202: Export},
    problems=(NotRetryable, AttemptStillEnding, OutputKeyInUse, QuotaExceeded, BudgetExceeded, Erased),
)
async def retry(request: Request[State]) -> Response:
    """Start a new attempt of a failed or cancelled export."""
    user_id = await request.state["authenticator"].user(request)
    job = await request.state["exports"].retry(user_id, path_job_id(request))
    return job_response(request, job, 202)


@declare_operation(
    "download_export",
    Tag.EXPORTS,
    headers=(RANGE, IF_NONE_MATCH, IF_MATCH),
    answers=DOWNLOAD_ANSWERS,
    problems=(*DOWNLOAD_PROBLEMS, NotComplete, FileExpired, OutputReplaced, Erased),
)
async def download_output(request: Request[State]) -> Response:
    """Send the exported file, by range if the request has one."""
    job = await load_complete_job(request)
    presentation = present_output(job, "attachment")
    download = await request.state["storage"].open_download(
        job.user_id, job.output_key, presentation, expires_seconds=URL_SECONDS
    )
    if download is not None:
        check_output(download.stored, job)
    return download_response(request, download, presentation)


async def load_complete_job(request: Request[State]) -> Job:
    """Return the job in the path, whose file is there; raises NotFound, NotComplete or FileExpired."""
    job = await load_job(request)
    if job.status is not Status.COMPLETE:
        raise NotComplete(f"The export is {job.status}; its file can be downloaded once it is complete.")
    if job.has_expired:
        raise FileExpired
    return job


def present_output(job: Job, disposition: Disposition) -> Presentation:
    """Return how browsers treat the file of an export."""
    filename = job.output_key.rpartition("/")[2]
    return Presentation(filename, output_format(job.type).content_type, disposition)


def check_output(stored: StoredObject, job: Job) -> None:
    """Raise OutputReplaced unless a stored object is the file that the export made.

    Not every storage knows checksums.
    """
    if stored.size != job.output_size or stored.checksum not in (None, job.output_checksum):
        raise OutputReplaced


async def load_job(request: Request[State]) -> Job:
    """Return the job in the path, if it is the user's; raises NotFound."""
    user_id = await request.state["authenticator"].user(request)
    return await request.state["exports"].get(user_id, path_job_id(request))


Read = Callable[[AsyncSession, str], Awaitable[list[Job]]]


async def _list_response(request: Request[State], read: Read) -> Response:
    user_id = await request.state["authenticator"].user(request)
    async with request.state["database"].reading() as session:
        jobs = await read(session, user_id)
    return json_response(ExportList(exports=serialize_jobs(request, jobs)))


def serialize_jobs(request: Request[State], jobs: list[Job]) -> list[Export]:
    """Return the exports of a list."""
    return [request.state["serializer"].to_dict(job) for job in jobs]


def job_response(
    request: Request[State], job: Job, status: Literal[200, 202] = 200, headers: dict[str, str] | None = None
) -> Response:
    return json_response(request.state["serializer"].to_dict(job), status, headers)
