"""Getting a video in: a signed, expiring URL to PUT it to, bound to its key, size and content type."""

import re
import time
import unicodedata
import uuid
from pathlib import PurePosixPath
from typing import Annotated
from urllib.parse import quote

import jwt
import pydantic
from starlette.requests import Request
from starlette.responses import Response

from gpu.keys import checked_key
from infra.storage import WrongLength
from service.api.exports import Strict
from service.api.parsing import answer, json_of
from service.api.state import State
from service.errors import Forbidden, Invalid, TooLarge, Unavailable, UnsupportedType
from service.view import moment

EXPIRES_SECONDS = 3_600
RESERVE_BYTES = 256 * 2**20
VIDEO_TYPES = frozenset(
    {
        "video/mp4", "video/quicktime", "video/x-matroska", "video/matroska", "video/webm", "video/x-m4v",
        "video/mpeg", "video/mp2t", "video/x-msvideo", "video/avi", "video/3gpp", "video/3gpp2", "video/ogg",
    }
)  # fmt: skip
_UNSAFE = re.compile(r"[^\w.\- ()]+")


class CreateUpload(Strict):
    """The body of `POST /api/uploads`; size in bytes."""

    filename: Annotated[str, pydantic.Field(min_length=1, max_length=255)]
    size: Annotated[int, pydantic.Field(ge=1)]
    content_type: Annotated[str, pydantic.Field(max_length=100)]


async def create(request: Request[State]) -> Response:
    """Where to PUT the file."""
    user_id = await request.state["authenticator"].user(request)
    asked, _ = await json_of(request, CreateUpload)
    limit = request.state["quotas"].upload_bytes
    if asked.size > limit:
        raise TooLarge(f"A file may have {limit} bytes.")
    if asked.content_type.lower() not in VIDEO_TYPES:
        raise UnsupportedType("Only video files can be uploaded; the content type must name a video format.")
    key = f"uploads/{uuid.uuid4().hex}/{safe_name(asked.filename)}"
    expires_at = int(time.time()) + EXPIRES_SECONDS
    claims = {"sub": user_id, "key": key, "size": asked.size, "type": asked.content_type, "exp": expires_at}
    token = jwt.encode(claims | {"aud": "upload"}, request.state["upload_key"], "HS256")
    return answer(
        {
            "key": key,
            "url": f"{request.state['origin']}/api/uploads/{quote(key)}?token={token}",
            "method": "PUT",
            "headers": {"Content-Type": asked.content_type},
            "expires_at": moment(expires_at),
        },
        201,
    )


async def put(request: Request[State]) -> Response:
    """Take the file in, to the byte; what arrives in part is not kept."""
    claims = _claims(request)
    size = int(claims["size"])
    if request.headers.get("content-type", "") != claims["type"]:
        raise UnsupportedType(f"The upload was agreed to be {claims['type']}.")
    declared = request.headers.get("content-length")
    if declared is not None and int(declared) != size:
        raise Invalid(f"The upload was agreed to have {size} bytes, not {declared}.")
    storage = request.state["storage"]
    if storage.free_bytes() < size + RESERVE_BYTES:
        raise Unavailable("The disk is full.", retry_after_seconds=60)
    try:
        await storage.receive(claims["sub"], claims["key"], request.stream(), size)
    except WrongLength:
        raise Invalid(f"The upload was agreed to have {size} bytes.") from None
    return answer({"key": claims["key"], "size": size}, 201)


def safe_name(filename: str) -> str:
    """A file name as the last part of a key: its letters and digits kept, whatever else replaced."""
    name = unicodedata.normalize("NFKC", PurePosixPath(filename.replace("\\", "/")).name)
    name = _UNSAFE.sub("_", name).strip(" .") or "video"
    name = name.encode()[-120:].decode(errors="ignore").strip(" .") or "video"
    return checked_key(name)


def _claims(request: Request[State]) -> dict[str, str]:
    try:
        claims: dict[str, str] = jwt.decode(
            request.query_params.get("token", ""),
            request.state["upload_key"],
            algorithms=["HS256"],
            audience="upload",
        )
    except jwt.ExpiredSignatureError:
        raise Forbidden("The upload URL has expired; ask for a new one.") from None
    except jwt.PyJWTError:
        raise Forbidden("The upload URL is not valid.") from None
    if claims["key"] != request.path_params["key"]:
        raise Forbidden("The upload URL is for another key.")
    return claims
