"""`POST /api/callbacks/{job_id}/output`: an attempt asks where its output's parts go, and says when all are there.

Signed as callbacks are. The service completes the upload itself: R2 does not promise that a presigned request may, and
what is joined is then what storage lists, compared with what the attempt has stated before anybody is told of it.
"""

from typing import Annotated

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from callbacks import signing
from callbacks.envelope import MAX_BODY_BYTES, Count
from infra.storage import NoSuchUpload, Storage, part_bytes
from service.api.requests import json_response, path_job_id, read_body
from service.api.state import State
from service.api.transfers import multipart
from service.api.transfers.multipart import Upload
from service.ingest.finalizer import attempt_folder, attempt_key
from service.ingest.output_limits import max_output_bytes
from service.jobs import queries
from service.jobs.models import ACTIVE, Job
from service.problems import AttemptOver, Conflict, Invalid, NotFound, TooLarge, Unauthenticated, WrongClock


class OutputRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An output of `size` bytes; without an upload id, one is begun."""

    attempt: Count
    size: Annotated[int, msgspec.Meta(ge=1, le=5 * 2**40)]
    checksum: Annotated[str, msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}\Z")]
    upload_id: Annotated[str, msgspec.Meta(min_length=1, max_length=1_024)] | None = None
    complete: bool = False


class UploadIncomplete(Conflict):
    title = "Parts of the upload are missing or differ from the stated size or checksum."
    code = "upload_not_whole"


class OutputTooLarge(TooLarge):
    title = "The output is too large for this export."
    code = "output_too_large"


async def request_output_targets(request: Request[State]) -> Response:
    """Where the missing parts go; or, when told that all are there, what storage holds."""
    asked = _verify(request, await read_body(request, MAX_BODY_BYTES))
    job = await _load_active_job(request, asked)
    key = attempt_key(job.job_id, job.attempt)
    storage = request.state["storage"]
    allowed_bytes = await max_output_bytes(storage, job, request.state["limits"].output_bytes)
    if asked.size > allowed_bytes:
        raise OutputTooLarge(f"The output of this export may have at most {allowed_bytes} bytes.")
    upload_id = asked.upload_id or await _begin(storage, job, asked)
    upload = Upload(job.user_id, key, upload_id, asked.size)
    try:
        if asked.complete:
            return await _complete(request, upload, asked)
        numbers = await multipart.missing_parts(storage, upload)
    except NoSuchUpload:
        raise UploadIncomplete("The upload does not exist or has expired; start a new one.") from None
    targets = await multipart.part_targets(storage, upload, numbers)
    return json_response({"upload_id": upload_id, "part_size": part_bytes(asked.size), "parts": targets})


async def _begin(storage: Storage, job: Job, asked: OutputRequest) -> str:
    """Begin an upload in place of any other of the attempt: what they take up together is one output."""
    await storage.abort_uploads(job.user_id, attempt_folder(job.job_id, job.attempt))
    key = attempt_key(job.job_id, job.attempt)
    return await storage.create_multipart(
        job.user_id, key, size=asked.size, content_type="video/mp4", checksum=asked.checksum
    )


async def _complete(request: Request[State], upload: Upload, asked: OutputRequest) -> Response:
    storage = request.state["storage"]
    if not await multipart.complete_upload(storage, upload):
        raise UploadIncomplete
    if not await storage.exists_with(upload.user_id, upload.key, size=asked.size, checksum=asked.checksum):
        raise UploadIncomplete
    return json_response({"size": asked.size, "checksum": asked.checksum})


def _verify(request: Request[State], body: bytes) -> OutputRequest:
    job_id = path_job_id(request)
    try:
        asked = msgspec.json.decode(body, type=OutputRequest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise Invalid("The body is not a valid request for an output upload.") from None
    keys = [
        signing.derive_attempt_key(master, job_id, asked.attempt) for master in request.state["master_keys"]
    ]
    now = request.state["clock"].wall()
    try:
        signing.verify(keys, request.headers, body, now=now)
    except signing.TimestampOutOfRange:
        raise WrongClock(now) from None
    except signing.VerificationFailed:
        raise Unauthenticated("Invalid signature.") from None
    return asked


async def _load_active_job(request: Request[State], asked: OutputRequest) -> Job:
    async with request.state["database"].reading() as session:
        job = await queries.get_any(session, path_job_id(request))
    if job is None:
        raise NotFound("The export does not exist.")
    if job.attempt != asked.attempt or job.status not in ACTIVE:
        raise AttemptOver
    return job
