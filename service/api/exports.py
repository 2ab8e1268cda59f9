"""`/api/exports`: list, show, cancel, retry, acknowledge and download exports.

`create_export` creates them.
"""

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Literal, TypedDict

import pydantic
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from gpu.export_types.registry import ExportTypeName
from infra.storage import StoredObject
from service.api.request_ids import JobId, ProjectText
from service.api.requests import (
    StrictModel,
    json_response,
    parse_model,
    parse_query,
    path_job_id,
    read_body,
    require_json,
)
from service.api.state import State
from service.api.transfers.downloads import download_response
from service.ingest.output_format import output_format
from service.jobs import acknowledgements, queries
from service.jobs.models import Job, Status
from service.jobs.serializers import Export
from service.problems import (
    NotComplete,
    OutputReplaced,
)

DOWNLOAD_URL_SECONDS = 3_600


class ListQuery(StrictModel):
    """`?status=&type=&project_id=&limit=&cursor=`."""

    status: Status | None = None
    type: ExportTypeName | None = None
    project_id: ProjectText | None = None
    limit: Annotated[int, pydantic.Field(ge=1, le=200)] = 50
    cursor: JobId | None = None


class RecentQuery(StrictModel):
    """`?hours=24`."""

    hours: Annotated[float, pydantic.Field(gt=0, le=24 * 366)] = 24


JobIds = Annotated[list[JobId], pydantic.Field(max_length=1_000)]


class Acknowledge(StrictModel):
    """The body of `POST /api/exports/acknowledge`; without ids it means all finished exports."""

    job_ids: JobIds | None = None


class AcknowledgeList(pydantic.RootModel[JobIds]):
    """The same body as a bare list of ids."""


class ExportList(TypedDict):
    """Exports, newest first."""

    exports: list[Export]


class ExportPage(ExportList):
    """One page of exports, newest first; `next_cursor` is the `cursor` of the next page, null on the last."""

    next_cursor: str | None


async def list_(request: Request[State]) -> Response:
    """List one page of exports, newest first."""
    return await _list_page(request, parse_query(request, ListQuery))


async def list_project(request: Request[State]) -> Response:
    """List one page of a project's exports: the same as `?project_id=`."""
    query = parse_query(request, ListQuery, project_id=request.path_params["project_id"])
    return await _list_page(request, query)


async def _list_page(request: Request[State], query: ListQuery) -> Response:
    user_id = await request.state["authenticator"].user(request)
    async with request.state["database"].reading() as session:
        jobs = await queries.list_page(
            session,
            user_id,
            status=query.status,
            type_=query.type,
            project_id=query.project_id,
            before=query.cursor,
            limit=query.limit + 1,
        )
    page, has_more = jobs[: query.limit], len(jobs) > query.limit
    return json_response(
        ExportPage(exports=_serialize_jobs(request, page), next_cursor=page[-1].job_id if has_more else None)
    )


async def list_active(request: Request[State]) -> Response:
    """List the exports that are pending or processing, for a page that was reloaded."""
    return await _list_response(request, queries.list_active)


async def list_unacknowledged(request: Request[State]) -> Response:
    """List the exports that finished and were not acknowledged."""
    return await _list_response(request, queries.list_unacknowledged)


async def list_recent(request: Request[State]) -> Response:
    """List the exports that are active or finished in the last `hours`."""
    since = time.time() - parse_query(request, RecentQuery).hours * 3600
    return await _list_response(request, partial(queries.list_recent, since=since))


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
    return json_response(ExportList(exports=_serialize_jobs(request, jobs)))


async def _read_ids(request: Request[State]) -> list[str] | None:
    """Return the ids in the body, an object or a bare list; None if it names none."""
    raw = (await read_body(request)).strip()
    if raw in (b"", b"null"):
        return None
    require_json(request)
    if raw.startswith(b"["):
        return parse_model(AcknowledgeList, raw).root
    return parse_model(Acknowledge, raw).job_ids


async def get(request: Request[State]) -> Response:
    """Show one export."""
    return job_response(request, await load_job(request))


async def cancel(request: Request[State]) -> Response:
    """Cancel the export and stop its run; cancelling again has the same response."""
    user_id = await request.state["authenticator"].user(request)
    job = await request.state["exports"].cancel(user_id, path_job_id(request))
    return job_response(request, job, 202)


async def retry(request: Request[State]) -> Response:
    """Start a new attempt of a failed or cancelled export."""
    user_id = await request.state["authenticator"].user(request)
    job = await request.state["exports"].retry(user_id, path_job_id(request))
    return job_response(request, job, 202)


async def download_output(request: Request[State]) -> Response:
    """Send the exported file, by range if the request has one."""
    job = await load_job(request)
    if job.status is not Status.COMPLETE:
        raise NotComplete(f"The export is {job.status}; its file can be downloaded once it is complete.")
    filename = job.output_key.rpartition("/")[2]
    download = await request.state["storage"].open_download(
        job.user_id, job.output_key, filename=filename, expires_seconds=DOWNLOAD_URL_SECONDS
    )
    if download is not None and not _is_output(download.stored, job):
        raise OutputReplaced
    content_type = output_format(job.type).content_type
    return download_response(request, download, filename, content_type=content_type)


def _is_output(stored: StoredObject, job: Job) -> bool:
    """Check that a stored object is the file that the export made.

    Not every storage knows checksums.
    """
    return stored.size == job.output_size and stored.checksum in (None, job.output_checksum)


async def load_job(request: Request[State]) -> Job:
    """Return the job in the path, if it is the user's; raises NotFound."""
    user_id = await request.state["authenticator"].user(request)
    return await request.state["exports"].get(user_id, path_job_id(request))


Read = Callable[[AsyncSession, str], Awaitable[list[Job]]]


async def _list_response(request: Request[State], read: Read) -> Response:
    user_id = await request.state["authenticator"].user(request)
    async with request.state["database"].reading() as session:
        jobs = await read(session, user_id)
    return json_response(ExportList(exports=_serialize_jobs(request, jobs)))


def _serialize_jobs(request: Request[State], jobs: list[Job]) -> list[Export]:
    return [request.state["serializer"].to_dict(job) for job in jobs]


def job_response(
    request: Request[State], job: Job, status: Literal[200, 202] = 200, headers: dict[str, str] | None = None
) -> Response:
    return json_response(request.state["serializer"].to_dict(job), status, headers)
