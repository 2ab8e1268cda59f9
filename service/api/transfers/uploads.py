"""`/api/uploads`: signed, expiring URLs to which clients PUT videos, whole or in parts.

An upload in parts is known by a token that holds everything about it, so that any replica can go on with it.
"""

import re
import time
import unicodedata
import uuid
from pathlib import PurePosixPath
from typing import Annotated, Literal, TypedDict

import jwt
import pydantic
from starlette.requests import Request
from starlette.responses import Response

from gpu.config import WholeNumber
from gpu.keys import validate_key
from infra.storage import NoSuchUpload, part_bytes, part_sizes
from service.api.openapi.operations import Answer, Body, Tag, declare_operation
from service.api.requests import StrictModel, json_response, read_json
from service.api.state import State
from service.api.transfers import multipart as parts
from service.api.transfers.multipart import Upload
from service.exports.checks import UPLOADS_PREFIX
from service.jobs.serializers import format_timestamp
from service.problems import Conflict, DiskFullProblem, NotFound, TooLarge, UnsupportedType

URL_SECONDS = 3_600
MULTIPART_SECONDS = 24 * 3_600
# S3 accepts at most 5 GiB in one request; larger files are uploaded in parts even if the client did not ask for it.
MAX_SINGLE_BYTES = 4 * 2**30
MAX_NAME_BYTES = 120
VIDEO_TYPES = frozenset(
    {
        "video/mp4", "video/quicktime", "video/x-matroska", "video/matroska", "video/webm", "video/x-m4v",
        "video/mpeg", "video/mp2t", "video/x-msvideo", "video/avi", "video/3gpp", "video/3gpp2", "video/ogg",
        "video/mp2p", "video/x-flv", "video/x-ms-wmv", "video/x-ms-asf", "application/mxf", "video/h264", "video/h265",
        "video/av1", "video/x-ivf", "video/dv", "video/x-dv", "video/x-y4m", "image/gif", "image/apng",
    }
)  # fmt: skip
UNKNOWN_TYPE = "application/octet-stream"
# Browsers know no content type for these and send UNKNOWN_TYPE.
UNKNOWN_SUFFIXES = (
    ".264", ".265", ".asf", ".dv", ".flv", ".h264", ".h265", ".hevc", ".ivf", ".m2t", ".m2ts", ".m2v", ".mkv", ".mts",
    ".mxf", ".nut", ".obu", ".ts", ".vob", ".wmv", ".y4m",
)  # fmt: skip
_UNSAFE = re.compile(r"[^\w.\- ()]+")
_AUDIENCE = "upload"


class UploadIncomplete(Conflict):
    title = "Parts of the upload are missing; upload them, then complete it again."
    code = "upload_not_whole"


class CreateUpload(StrictModel):
    """The body of `POST /api/uploads`; size in bytes."""

    filename: Annotated[str, pydantic.Field(min_length=1, max_length=255)]
    size: Annotated[int, pydantic.Field(ge=1), WholeNumber]
    content_type: Annotated[str, pydantic.Field(max_length=100)]
    parts: bool = False


class UploadTarget(TypedDict):
    """Where to send a file: PUT it to `url` with these headers, before the URL expires."""

    key: str
    url: str
    method: Literal["PUT"]
    headers: dict[str, str]
    expires_at: str


class MultipartUpload(TypedDict):
    """Where to send a file in parts: PUT each to its URL, in any order, then complete the upload.

    Each part but the last has `part_size` bytes. `arrived` are the numbers of the stored parts; `parts` has the next
    ones to send, at most 100, and `GET /api/uploads/{upload}` those after them.
    """

    upload: str
    key: str
    size: int
    part_size: int
    part_count: int
    arrived: list[int]
    method: Literal["PUT"]
    parts: list[parts.PartTarget]
    expires_at: str


class StoredFile(TypedDict):
    """A stored file and its size in bytes; `key` is the `input_key` of exports."""

    key: str
    size: int


def is_video(filename: str, content_type: str) -> bool:
    """Check that a file may be a video by its content type, or by its name without one."""
    if content_type.lower() == UNKNOWN_TYPE:
        return filename.lower().endswith(UNKNOWN_SUFFIXES)
    return content_type.lower() in VIDEO_TYPES


@declare_operation(
    "create_upload",
    Tag.UPLOADS,
    body=Body(CreateUpload),
    answers={
        201: Answer(
            "Where to send the file.",
            UploadTarget | MultipartUpload,
            headers={"Location": "The path of an upload in parts."},
        )
    },
    problems=(TooLarge, DiskFullProblem),
)
async def create(request: Request[State]) -> Response:
    """Start an upload: respond with the URL for the file, or the URLs for its parts."""
    user_id = await request.state["authenticator"].user(request)
    body, _ = await read_json(request, CreateUpload)
    limit = request.state["limits"].upload_bytes
    if body.size > limit:
        raise TooLarge(f"A file may have at most {limit} bytes.")
    if not is_video(body.filename, body.content_type):
        raise UnsupportedType(
            "Only video files can be uploaded; set content_type to the file's video format, such as video/mp4."
        )
    key = f"{UPLOADS_PREFIX}{uuid.uuid4().hex}/{safe_name(body.filename)}"
    if body.parts or body.size > MAX_SINGLE_BYTES:
        return await _create_multipart(request, user_id, key, body)
    await request.state["storage"].check_free_space(body.size)
    signed = await request.state["storage"].sign_write_url(
        user_id, key, size=body.size, content_type=body.content_type, expires_seconds=URL_SECONDS
    )
    target = UploadTarget(
        key=key,
        url=signed.url,
        method="PUT",
        headers=signed.headers,
        expires_at=format_timestamp(int(time.time()) + URL_SECONDS),
    )
    return json_response(target, 201)


@declare_operation("get_upload", Tag.UPLOADS, answers={200: MultipartUpload})
async def get(request: Request[State]) -> Response:
    """Show which parts of a multipart upload have arrived, and the URLs for the rest."""
    upload, expires_at = await _load_upload(request)
    return json_response(await _upload_response(request, upload, request.path_params["upload"], expires_at))


@declare_operation("complete_upload", Tag.UPLOADS, answers={201: StoredFile}, problems=(UploadIncomplete,))
async def complete(request: Request[State]) -> Response:
    """Join the parts of an upload to the file; completing again has the same response."""
    upload, _ = await _load_upload(request)
    try:
        whole = await parts.complete_upload(request.state["storage"], upload)
    except NoSuchUpload:
        raise NotFound("The upload does not exist.") from None
    if not whole:
        raise UploadIncomplete
    return json_response(StoredFile(key=upload.key, size=upload.size), 201)


@declare_operation("abort_upload", Tag.UPLOADS, answers={204: Answer("The parts are deleted.")})
async def abort(request: Request[State]) -> Response:
    """Abort an upload and delete the parts that have arrived."""
    upload, _ = await _load_upload(request)
    await request.state["storage"].abort_multipart(upload.user_id, upload.key, upload.upload_id)
    return Response(status_code=204)


def safe_name(filename: str) -> str:
    """Turn a file name into the last part of a key.

    Letters and digits stay; most other characters become `_`.
    """
    name = unicodedata.normalize("NFKC", PurePosixPath(filename.replace("\\", "/")).name)
    name = _UNSAFE.sub("_", name).strip(" .") or "video"
    name = name.encode()[-MAX_NAME_BYTES:].decode(errors="ignore").strip(" .") or "video"
    return validate_key(name)


async def _create_multipart(request: Request[State], user_id: str, key: str, body: CreateUpload) -> Response:
    upload_id = await request.state["storage"].create_multipart(
        user_id, key, size=body.size, content_type=body.content_type
    )
    expires_at = int(time.time()) + MULTIPART_SECONDS
    claims = {"sub": user_id, "key": key, "size": body.size, "upload": upload_id, "exp": expires_at}
    token = jwt.encode(claims | {"aud": _AUDIENCE}, request.state["upload_key"], "HS256")
    content = await _upload_response(request, Upload(user_id, key, upload_id, body.size), token, expires_at)
    return json_response(content, 201, {"Location": f"/api/uploads/{token}"})


async def _upload_response(
    request: Request[State], upload: Upload, token: str, expires_at: int
) -> MultipartUpload:
    storage = request.state["storage"]
    try:
        numbers = await parts.missing_parts(storage, upload)
    except NoSuchUpload:
        raise NotFound("The upload does not exist.") from None
    count = len(part_sizes(upload.size))
    return {
        "upload": token,
        "key": upload.key,
        "size": upload.size,
        "part_size": part_bytes(upload.size),
        "part_count": count,
        "arrived": sorted(set(range(1, count + 1)) - set(numbers)),
        "method": "PUT",
        "parts": await parts.part_targets(storage, upload, numbers),
        "expires_at": format_timestamp(expires_at),
    }


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
