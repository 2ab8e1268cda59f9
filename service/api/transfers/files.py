"""Objects in a folder under signed, expiring URLs, as S3 would serve them: by range too, written whole or in parts."""

from email.utils import parsedate_to_datetime
from mimetypes import guess_type

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from infra.storage import (
    AlreadyStored,
    Damaged,
    FolderStorage,
    NoSuchUpload,
    OutsideStorage,
    Stored,
    WrongLength,
    attachment,
)
from infra.storage.signed import Expired, Forged, Grant
from service.api.requests import json_response
from service.api.state import State
from service.problems import AlreadyUploaded, Forbidden, Invalid, NotFound, UnsupportedType


async def get(request: Request[State]) -> Response:
    """The object, or a part of it."""
    storage, grant = _verify_grant(request, "read")
    return await serve_object(request, storage, grant.user_id, grant.key, grant.filename)


async def put(request: Request[State]) -> Response:
    """Take in an object, or a part of one, to the byte; what arrives in part is not kept."""
    storage, grant = _verify_grant(request, "write", "part")
    size = grant.size or 0
    declared = request.headers.get("content-length")
    if grant.content_type is not None and request.headers.get("content-type", "") != grant.content_type:
        raise UnsupportedType(f"The upload was agreed to be {grant.content_type}.")
    if declared is not None and declared != str(size):
        raise Invalid(f"The upload was agreed to have {size} bytes.")
    try:
        etag = await _receive_object(request, storage, grant, size)
    except WrongLength:
        raise Invalid(f"The upload was agreed to have {size} bytes.") from None
    except Damaged:
        raise Invalid("What arrived is not what was sent.") from None
    except NoSuchUpload:
        raise NotFound("The upload is complete, or was given up.") from None
    except AlreadyStored:
        raise AlreadyUploaded from None
    return json_response({"key": grant.key, "size": size}, 201, {"ETag": f'"{etag}"'})


async def serve_object(
    request: Request[State], storage: FolderStorage, user_id: str, key: str, filename: str | None
) -> Response:
    """The object with Range, If-Range, ETag and conditions; to be saved as `filename` if one is given."""
    found = await storage.find(user_id, key)
    if found is None:
        raise NotFound("The file has been removed.")
    headers = {
        "ETag": f'"{found.etag}"',
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": attachment(filename or key.rpartition("/")[2]),
    }
    if _if_match_fails(request, found):
        return Response(status_code=412, headers=headers)
    if _is_not_modified(request, found):
        return Response(status_code=304, headers=headers)
    kind = guess_type(key)[0] or "application/octet-stream"
    return FileResponse(
        storage.path(user_id, key),
        media_type=kind if kind.startswith("video/") else "application/octet-stream",
        headers=headers,
    )


def _verify_grant(request: Request[State], *acts: str) -> tuple[FolderStorage, Grant]:
    storage = request.state["storage"]
    if not isinstance(storage, FolderStorage) or storage.urls is None:
        raise NotFound
    try:
        grant = storage.urls.read(request.query_params.get("token", ""), request.path_params["key"])
        storage.path(grant.user_id, grant.key)
    except Expired:
        raise Forbidden("The URL has expired; ask for a new one.") from None
    except (Forged, OutsideStorage):
        raise Forbidden("The URL is not valid.") from None
    if grant.act not in acts:
        raise Forbidden("The URL is not valid for this.")
    return storage, grant


async def _receive_object(request: Request[State], storage: FolderStorage, grant: Grant, size: int) -> str:
    if grant.act == "write":
        await storage.receive(grant.user_id, grant.key, request.stream(), size, replace=False)
        found = await storage.find(grant.user_id, grant.key)
        return found.etag if found else ""
    assert grant.upload_id is not None
    assert grant.number is not None
    target = storage.path(grant.user_id, grant.key)
    digest = request.headers.get("content-md5")
    return await storage.parts.receive(
        target, grant.upload_id, (grant.number, size), request.stream(), digest
    )


def _if_match_fails(request: Request[State], found: Stored) -> bool:
    """If-Match: whoever reads by range wants all ranges of one and the same object."""
    asked = request.headers.get("if-match")
    return asked is not None and asked.strip() != "*" and f'"{found.etag}"' not in _etags(asked)


def _is_not_modified(request: Request[State], found: Stored) -> bool:
    """If-None-Match, or in its absence If-Modified-Since (RFC 9110)."""
    asked = request.headers.get("if-none-match")
    if asked is not None:
        return asked.strip() == "*" or f'"{found.etag}"' in _etags(asked)
    since = request.headers.get("if-modified-since")
    if since is None:
        return False
    try:
        return int(found.modified_at) <= parsedate_to_datetime(since).timestamp()
    except (ValueError, OverflowError, TypeError):
        return False


def _etags(header: str) -> list[str]:
    return [tag.strip().removeprefix("W/") for tag in header.split(",")]
