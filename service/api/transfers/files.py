"""Serve the objects of a folder under signed, expiring URLs, as S3 does."""

from starlette.requests import Request
from starlette.responses import Response

from infra.storage import (
    ChecksumMismatch,
    FolderStorage,
    InvalidKey,
    NoSuchUpload,
    ObjectExists,
    Presentation,
    SizeMismatch,
)
from infra.storage.signed import ExpiredToken, Grant, InvalidToken
from service.api.openapi.operations import Answer, Body, Credential, Tag, declare_operation
from service.api.openapi.parameters import IF_MATCH, IF_NONE_MATCH, RANGE
from service.api.requests import json_response
from service.api.state import State
from service.api.transfers.downloads import DOWNLOAD_ANSWERS, DOWNLOAD_PROBLEMS, download_response
from service.api.transfers.upload_parts import StoredFile
from service.problems import (
    AlreadyUploaded,
    DiskFullProblem,
    Forbidden,
    Invalid,
    NotFound,
    OutputReplaced,
    UnsupportedType,
)
from service.video_types import type_from_name


@declare_operation(
    "get_file",
    Tag.UPLOADS,
    credential=Credential.URL,
    headers=(RANGE, IF_NONE_MATCH, IF_MATCH),
    answers=DOWNLOAD_ANSWERS,
    problems=(*DOWNLOAD_PROBLEMS, Forbidden, OutputReplaced),
)
async def get(request: Request[State]) -> Response:
    """Send the object, by range if the request has one."""
    storage, grant = _verify_grant(request, "read")
    filename = grant.filename or grant.key.rpartition("/")[2]
    content_type = grant.content_type or type_from_name(filename)
    presentation = Presentation(filename, content_type, grant.disposition or "attachment")
    download = await storage.open_download(grant.user_id, grant.key, presentation, expires_seconds=0)
    if download is not None and grant.size not in (None, download.stored.size):
        raise OutputReplaced
    return download_response(request, download, presentation)


@declare_operation(
    "put_file",
    Tag.UPLOADS,
    credential=Credential.URL,
    body=Body(),
    answers={201: Answer("The file is stored.", StoredFile, headers={"ETag": "Names the stored bytes."})},
    problems=(Forbidden, AlreadyUploaded, UnsupportedType, Invalid, DiskFullProblem),
)
async def put(request: Request[State]) -> Response:
    """Store an object or a part of a multipart upload, of exactly the granted size.

    An incomplete body is discarded.
    """
    storage, grant = _verify_grant(request, "write", "part")
    size = grant.size or 0
    declared = request.headers.get("content-length")
    sent_type = request.headers.get("content-type", "")
    if grant.content_type is not None and _media_type(sent_type) != _media_type(grant.content_type):
        raise UnsupportedType(f"This URL accepts only the content type {grant.content_type}.")
    if declared is not None and declared != str(size):
        raise Invalid(f"This URL accepts exactly {size} bytes.")
    try:
        etag = await _receive_object(request, storage, grant, size)
    except SizeMismatch:
        raise Invalid(f"This URL accepts exactly {size} bytes.") from None
    except ChecksumMismatch:
        raise Invalid("The body does not match its Content-MD5; send it again.") from None
    except NoSuchUpload:
        raise NotFound("The upload was already completed or aborted.") from None
    except ObjectExists:
        raise AlreadyUploaded from None
    request.state["metrics"].uploads.received_bytes.inc(size)
    return json_response(StoredFile(key=grant.key, size=size), 201, {"ETag": f'"{etag}"'})


def _media_type(content_type: str) -> str:
    """Return a content type without its parameters, which clients write in many ways."""
    return content_type.partition(";")[0].strip().lower()


def _verify_grant(request: Request[State], *acts: str) -> tuple[FolderStorage, Grant]:
    storage = request.state["folder_storage"]
    if storage is None or storage.url_signer is None:
        raise NotFound
    try:
        grant = storage.url_signer.verify(request.query_params.get("token", ""), request.path_params["key"])
        storage.local_path(grant.user_id, grant.key)
    except ExpiredToken:
        raise Forbidden("The URL has expired; request a new one.") from None
    except (InvalidToken, InvalidKey):
        raise Forbidden("The URL is not valid.") from None
    if grant.act not in acts:
        raise Forbidden("The URL is not valid for this method.")
    return storage, grant


async def _receive_object(request: Request[State], storage: FolderStorage, grant: Grant, size: int) -> str:
    if grant.act == "write":
        await storage.receive(grant.user_id, grant.key, request.stream(), size, replace=False)
        stored = await storage.find(grant.user_id, grant.key)
        return stored.etag if stored else ""
    assert grant.upload_id is not None
    assert grant.number is not None
    target = storage.local_path(grant.user_id, grant.key)
    digest = request.headers.get("content-md5")
    return await storage.multipart.receive_part(
        target, grant.upload_id, (grant.number, size), request.stream(), digest
    )
