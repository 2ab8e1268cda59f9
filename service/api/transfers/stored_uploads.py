"""`GET /api/uploads` and `DELETE /api/uploads/{key}`: the sources of a user."""

from typing import Annotated, Literal, TypedDict

import pydantic
from starlette.requests import Request
from starlette.responses import Response

from service.api.openapi.operations import Answer, Tag, declare_operation
from service.api.requests import NO_NUL_PATTERN, StrictModel, json_response, parse_query
from service.api.state import State
from service.exports.checks import UPLOADS_PREFIX, UploadInUse
from service.exports.uploads import ListedUpload
from service.jobs.serializers import format_timestamp

MAX_KEY = 512


class ListQuery(StrictModel):
    """`?limit=&cursor=`."""

    limit: Annotated[int, pydantic.Field(ge=1, le=200)] = 50
    cursor: Annotated[str, pydantic.Field(max_length=MAX_KEY, pattern=NO_NUL_PATTERN)] | None = None


class SourceFile(TypedDict):
    """An upload: its size in bytes, whether all of it has arrived, and the active exports that read it.

    `key` is the `input_key` of exports. At `expires_at` it is deleted, unless an export reads it then; null if it is
    kept.
    """

    key: str
    filename: str
    size: int
    state: Literal["announced", "stored"]
    used_by: list[str]
    created_at: str
    expires_at: str | None


class SourcePage(TypedDict):
    """One page of uploads, newest first; `next_cursor` is the `cursor` of the next page, null on the last."""

    uploads: list[SourceFile]
    next_cursor: str | None


@declare_operation("list_uploads", Tag.UPLOADS, query=ListQuery, answers={200: SourcePage})
async def list_(request: Request[State]) -> Response:
    """List one page of uploads, newest first."""
    user_id = await request.state["authenticator"].user(request)
    query = parse_query(request, ListQuery)
    rows = await request.state["removal"].uploads.list_page(
        user_id, before=query.cursor, limit=query.limit + 1
    )
    page = [_to_source(listed) for listed in rows[: query.limit]]
    has_more = len(rows) > query.limit
    return json_response(SourcePage(uploads=page, next_cursor=page[-1]["key"] if has_more else None))


@declare_operation(
    "delete_upload",
    Tag.UPLOADS,
    answers={204: Answer("The file is deleted.")},
    problems=(UploadInUse,),
)
async def delete(request: Request[State]) -> Response:
    """Delete the uploaded file with the key in the path, or what has arrived of it."""
    user_id = await request.state["authenticator"].user(request)
    key = f"{UPLOADS_PREFIX}{request.path_params['folder']}/{request.path_params['name']}"
    await request.state["removal"].uploads.delete(user_id, key)
    return Response(status_code=204)


def _to_source(listed: ListedUpload) -> SourceFile:
    upload = listed.upload
    return {
        "key": upload.key,
        "filename": upload.key.rpartition("/")[2],
        "size": upload.size,
        "state": "stored" if listed.is_stored else "announced",
        "used_by": list(listed.used_by),
        "created_at": format_timestamp(upload.created_at),
        "expires_at": format_timestamp(listed.expires_at),
    }
