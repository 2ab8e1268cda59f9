"""`POST /api/uploads`: signed, expiring URLs to which clients PUT videos, whole or in parts."""

import re
import time
import unicodedata
from pathlib import PurePosixPath
from typing import Annotated

import pydantic
from starlette.requests import Request
from starlette.responses import Response

from gpu.config import WholeNumber
from gpu.keys import validate_key
from service.api.openapi.operations import Answer, Body, Tag, declare_operation
from service.api.requests import StrictModel, json_response, read_json
from service.api.state import State
from service.api.transfers.upload_parts import MULTIPART_SECONDS, UploadTarget, create_multipart
from service.exports.checks import UPLOADS_PREFIX, StorageQuotaExceeded
from service.jobs.ids import new_id
from service.jobs.serializers import format_timestamp
from service.problems import DiskFullProblem, FieldError, TooLarge, UnsupportedType
from service.video_types import NoVideoType, VideoType, describe_accepted_types, find_video_type

URL_SECONDS = 3_600
# S3 accepts at most 5 GiB in one request; larger files are uploaded in parts even if the client did not ask for it.
MAX_SINGLE_BYTES = 4 * 2**30
MAX_NAME_BYTES = 120
_UNSAFE = re.compile(r"[^\w.\- ()]+")


class CreateUpload(StrictModel):
    """The body of `POST /api/uploads`; size in bytes.

    `content_type` is the type of the `File` or `Blob` as it is, with its parameters, or empty.
    """

    filename: Annotated[str, pydantic.Field(min_length=1, max_length=255)]
    size: Annotated[int, pydantic.Field(ge=1), WholeNumber]
    content_type: Annotated[str, pydantic.Field(max_length=255)] = ""
    parts: bool = False


@declare_operation(
    "create_upload",
    Tag.UPLOADS,
    body=Body(CreateUpload),
    answers={
        201: Answer(
            "Where to send the file.",
            UploadTarget,
            headers={"Location": "The path of an upload in parts."},
        )
    },
    problems=(TooLarge, StorageQuotaExceeded, DiskFullProblem),
)
async def create(request: Request[State]) -> Response:
    """Start an upload: respond with the URL for the file, or the URLs for its parts."""
    user_id = await request.state["authenticator"].user(request)
    body, _ = await read_json(request, CreateUpload)
    limit = request.state["limits"].upload_bytes
    if body.size > limit:
        raise TooLarge(f"A file may have at most {limit} bytes.")
    video_type = _find_video_type(body)
    # The keys of a user sort by time.
    folder = new_id(request.state["clock"].wall()).replace("-", "")
    key = f"{UPLOADS_PREFIX}{folder}/{safe_name(body.filename)}"
    in_parts = body.parts or body.size > MAX_SINGLE_BYTES
    seconds = MULTIPART_SECONDS if in_parts else URL_SECONDS
    await request.state["removal"].uploads.announce(user_id, key, size=body.size, seconds=seconds)
    request.state["metrics"].uploads.count_created(body.size)
    if in_parts:
        return await create_multipart(request, user_id, key, body.size, video_type.media_type)
    await request.state["storage"].check_free_space(body.size)
    signed = await request.state["storage"].sign_write_url(
        user_id, key, size=body.size, content_type=video_type.declared, expires_seconds=URL_SECONDS
    )
    target = UploadTarget(
        key=key,
        size=body.size,
        method="PUT",
        url=signed.url,
        headers={"Content-Type": video_type.declared or video_type.media_type},
        upload=None,
        part_size=body.size,
        part_count=1,
        arrived=[],
        parts=[],
        expires_at=format_timestamp(int(time.time()) + URL_SECONDS),
    )
    return json_response(target, 201)


def _find_video_type(body: CreateUpload) -> VideoType:
    try:
        return find_video_type(body.filename, body.content_type)
    except NoVideoType:
        accepted = describe_accepted_types()
        error = FieldError(loc=["content_type"], msg=accepted)
        raise UnsupportedType(f"Only video files can be uploaded. {accepted}", errors=[error]) from None


def safe_name(filename: str) -> str:
    """Turn a file name into the last part of a key.

    Letters and digits stay; most other characters become `_`.
    """
    name = unicodedata.normalize("NFKC", PurePosixPath(filename.replace("\\", "/")).name)
    name = _UNSAFE.sub("_", name).strip(" .") or "video"
    name = name.encode()[-MAX_NAME_BYTES:].decode(errors="ignore").strip(" .") or "video"
    return validate_key(name)
