"""`/api/uploads/{upload}`: uploads in parts, of which each may be sent again, also after the client was closed.

Such an upload is known by a token that holds everything about it, so that any replica can go on with it.
"""

import time
from typing import Literal, TypedDict

import jwt
from starlette.requests import Request
from starlette.responses import Response

from infra.storage import NoSuchUpload, part_bytes, part_sizes
from service.api.openapi.operations import Answer, Tag, declare_operation
from service.api.requests import json_response
from service.api.state import State
from service.api.transfers import multipart as parts
from service.api.transfers.multipart import Upload
from service.jobs.serializers import format_timestamp
from service.keys.scopes import Scope
from service.problems import Conflict, NotFound

MULTIPART_SECONDS = 24 * 3_600
NO_UPLOAD = "The upload does not exist; it may have been completed, aborted, or too old."
_AUDIENCE = "upload"


class UploadIncomplete(Conflict):
    title = "Parts of the upload are missing; upload them, then complete it again."
    code = "upload_not_whole"


class UploadTarget(TypedDict):
    """Where to send a file: whole to `url`, or, if that is null, in parts.

    A whole file is sent with these headers before the URL expires, and is stored then. Parts are sent in any order,
    repeated at will, and completed: `upload` names them in `/api/uploads/{upload}`. Each part but the last has
    `part_size` bytes; `arrived` are the numbers of the stored ones, and `parts` has the next ones to send, at most 100.
    """

    key: str
    size: int
    method: Literal["PUT"]
    url: str | None
    headers: dict[str, str]
    upload: str | None
    part_size: int
    part_count: int
    arrived: list[int]
    parts: list[parts.PartTarget]
    expires_at: str


class StoredParts(TypedDict):
    """The parts of an upload that have arrived, ordered by number."""

    parts: list[parts.StoredPart]


class PartUrl(parts.PartTarget):
    """Where to send one part: PUT exactly `size` bytes to `url` before it expires."""

    method: Literal["PUT"]
    expires_at: str


class StoredFile(TypedDict):
    """A stored file and its size in bytes; `key` is the `input_key` of exports."""

    key: str
    size: int


async def create_multipart(
    request: Request[State], user_id: str, key: str, size: int, content_type: str
) -> Response:
    """Start an upload in parts, and respond with the URLs of the first."""
    upload_id = await request.state["storage"].create_multipart(
        user_id, key, size=size, content_type=content_type
    )
    expires_at = int(time.time()) + MULTIPART_SECONDS
    claims = {"sub": user_id, "key": key, "size": size, "upload": upload_id, "exp": expires_at}
    token = jwt.encode(claims | {"aud": _AUDIENCE}, request.state["upload_key"], "HS256")
    content = await _upload_response(request, Upload(user_id, key, upload_id, size), token, expires_at)
    return json_response(content, 201, {"Location": f"/api/uploads/{token}"})


@declare_operation("get_upload", Tag.UPLOADS, answers={200: UploadTarget})
async def get(request: Request[State]) -> Response:
    """Show which parts of a multipart upload have arrived, and the URLs for the rest."""
    upload, expires_at = await _load_upload(request)
    return json_response(await _upload_response(request, upload, request.path_params["upload"], expires_at))


@declare_operation("list_upload_parts", Tag.UPLOADS, answers={200: StoredParts})
async def list_parts(request: Request[State]) -> Response:
    """List the parts of an upload that have arrived."""
    upload, _ = await _load_upload(request)
    try:
        stored = await request.state["storage"].list_parts(upload.user_id, upload.key, upload.upload_id)
    except NoSuchUpload:
        raise NotFound(NO_UPLOAD) from None
    listed = [
        parts.StoredPart(number=part.number, size=part.size, etag=part.etag.strip('"')) for part in stored
    ]
    return json_response(StoredParts(parts=listed))


@declare_operation("get_upload_part_url", Tag.UPLOADS, answers={200: PartUrl}, scope=Scope.UPLOADS_WRITE)
async def get_part_url(request: Request[State]) -> Response:
    """Return a URL for one part, also for one that has arrived already."""
    upload, _ = await _load_upload(request)
    number, count = request.path_params["number"], len(part_sizes(upload.size))
    if number not in map(str, range(1, count + 1)):
        raise NotFound(f"The upload has the parts 1 to {count}.")
    expires_at = format_timestamp(int(time.time()) + parts.URL_SECONDS)
    (target,) = await parts.part_targets(request.state["storage"], upload, [int(number)])
    return json_response(PartUrl(**target, method="PUT", expires_at=expires_at))


@declare_operation("complete_upload", Tag.UPLOADS, answers={201: StoredFile}, problems=(UploadIncomplete,))
async def complete(request: Request[State]) -> Response:
    """Join the parts of an upload to the file; completing again has the same response."""
    upload, _ = await _load_upload(request)
    try:
        whole = await parts.complete_upload(request.state["storage"], upload)
    except NoSuchUpload:
        raise NotFound(NO_UPLOAD) from None
    if not whole:
        raise UploadIncomplete
    return json_response(StoredFile(key=upload.key, size=upload.size), 201)


@declare_operation("abort_upload", Tag.UPLOADS, answers={204: Answer("The parts are deleted.")})
async def abort(request: Request[State]) -> Response:
    """Abort an upload and delete the parts that have arrived."""
    upload, _ = await _load_upload(request)
    await request.state["removal"].uploads.record_abortion(upload.user_id, upload.key)
    await request.state["storage"].abort_multipart(upload.user_id, upload.key, upload.upload_id)
    return Response(status_code=204)


async def _upload_response(
    request: Request[State], upload: Upload, token: str, expires_at: int
) -> UploadTarget:
    storage = request.state["storage"]
    try:
        numbers = await parts.missing_parts(storage, upload)
    except NoSuchUpload:
        raise NotFound(NO_UPLOAD) from None
    count = len(part_sizes(upload.size))
    return UploadTarget(
        key=upload.key,
        size=upload.size,
        method="PUT",
        url=None,
        headers={},
        upload=token,
        part_size=part_bytes(upload.size),
        part_count=count,
        arrived=sorted(set(range(1, count + 1)) - set(numbers)),
        parts=await parts.part_targets(storage, upload, numbers),
        expires_at=format_timestamp(expires_at),
    )


async def _load_upload(request: Request[State]) -> tuple[Upload, int]:
    """Return the upload in the path, if it is the user's, and when its token expires.

    Raises NotFound.
    """
    user_id = await request.state["authenticator"].user(request)
    try:
        claims = jwt.decode(
            request.path_params["upload"],
            request.state["upload_key"],
            algorithms=["HS256"],
            audience=_AUDIENCE,
        )
    except jwt.PyJWTError:
        raise NotFound("The upload does not exist or has expired.") from None
    if claims["sub"] != user_id:
        raise NotFound("The upload does not exist or has expired.")
    return Upload(user_id, claims["key"], claims["upload"], claims["size"]), claims["exp"]
