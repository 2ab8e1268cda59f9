"""`POST /api/callbacks/{job_id}/output`: a run uploads its output in parts.

Requests are signed as callbacks are. The service completes the upload itself, because R2 does not promise that a
presigned request may: it joins the parts that the storage lists, and compares the object with what the run stated.
"""

from typing import Annotated, TypedDict

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from callbacks import signing
from callbacks.envelope import MAX_BODY_BYTES, Count
from infra.storage import NoSuchUpload, Storage, part_bytes
from service.api.openapi.operations import Body, Credential, Tag, declare_operation
from service.api.openapi.parameters import SIGNATURE_HEADERS
from service.api.requests import json_response, path_job_id, read_body
from service.api.state import State
from service.api.transfers import multipart
from service.api.transfers.multipart import Upload
from service.ingest.finalizer import attempt_folder, attempt_output_key
from service.ingest.output_format import output_format
from service.ingest.output_limits import max_output_bytes
from service.jobs import queries
from service.jobs.models import ACTIVE, Job
from service.problems import (
    AttemptOver,
    Conflict,
    DiskFullProblem,
    Invalid,
    NotFound,
    TooLarge,
    Unauthenticated,
    WrongClock,
)


class OutputRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An output of `size` bytes; without an upload id a new upload is started."""

    attempt: Count
    size: Annotated[int, msgspec.Meta(ge=1, le=5 * 2**40)]
    checksum: Annotated[str, msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}\Z")]
    upload_id: Annotated[str, msgspec.Meta(min_length=1, max_length=1_024)] | None = None
    complete: bool = False


class OutputTargets(TypedDict):
    """Where a run sends its output: each part but the last has `part_size` bytes."""

    upload_id: str
    part_size: int
    parts: list[multipart.PartTarget]


class StoredOutput(TypedDict):
    """The output that was joined and verified."""

    size: int
    checksum: str


class UploadIncomplete(Conflict):
    title = "Parts of the upload are missing or differ from the stated size or checksum."
    code = "upload_not_whole"


class OutputTooLarge(TooLarge):
    title = "The output is too large for this export."
    code = "output_too_large"


@declare_operation(
    "request_output_targets",
    Tag.RUNS,
    credential=Credential.RUN,
    body=Body(OutputRequest),
    headers=SIGNATURE_HEADERS,
    answers={200: OutputTargets | StoredOutput},
    problems=(AttemptOver, UploadIncomplete, OutputTooLarge, WrongClock, DiskFullProblem),
)
async def request_output_targets(request: Request[State]) -> Response:
    """Return the URLs of the missing parts; with `complete`, join them and verify the object."""
    request_body = _verify(request, await read_body(request, MAX_BODY_BYTES))
    job = await _load_active_job(request, request_body)
    key = attempt_output_key(job)
    storage = request.state["storage"]
    allowed_bytes = await max_output_bytes(storage, job, request.state["limits"].output_bytes)
    if request_body.size > allowed_bytes:
        raise OutputTooLarge(f"The output of this export may have at most {allowed_bytes} bytes.")
    upload_id = request_body.upload_id or await _start_upload(storage, job, request_body)
    upload = Upload(job.user_id, key, upload_id, request_body.size)
    try:
        if request_body.complete:
            return await _complete(request, upload, request_body)
        numbers = await multipart.missing_parts(storage, upload)
    except NoSuchUpload:
        raise UploadIncomplete("The upload does not exist or has expired; start a new one.") from None
    targets = await multipart.part_targets(storage, upload, numbers)
    return json_response(
        OutputTargets(upload_id=upload_id, part_size=part_bytes(request_body.size), parts=targets)
    )


async def _start_upload(storage: Storage, job: Job, request_body: OutputRequest) -> str:
    """Start an upload and abort any other of the attempt.

    All together never take more room than one output.
    """
    await storage.abort_uploads(job.user_id, attempt_folder(job.job_id, job.attempt))
    key = attempt_output_key(job)
    return await storage.create_multipart(
        job.user_id,
        key,
        size=request_body.size,
        content_type=output_format(job.type).content_type,
        checksum=request_body.checksum,
    )


async def _complete(request: Request[State], upload: Upload, request_body: OutputRequest) -> Response:
    storage = request.state["storage"]
    if not await multipart.complete_upload(storage, upload):
        raise UploadIncomplete
    if not await storage.exists_with(
        upload.user_id, upload.key, size=request_body.size, checksum=request_body.checksum
    ):
        raise UploadIncomplete
    return json_response(StoredOutput(size=request_body.size, checksum=request_body.checksum))


def _verify(request: Request[State], body: bytes) -> OutputRequest:
    job_id = path_job_id(request)
    try:
        request_body = msgspec.json.decode(body, type=OutputRequest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise Invalid("The body is not a valid request for an output upload.") from None
    keys = [
        signing.derive_attempt_key(master, job_id, request_body.attempt)
        for master in request.state["master_keys"]
    ]
    now = request.state["clock"].wall()
    try:
        signing.verify(keys, request.headers, body, now=now)
    except signing.TimestampOutOfRange:
        raise WrongClock(now) from None
    except signing.VerificationFailed:
        raise Unauthenticated("Invalid signature.") from None
    return request_body


async def _load_active_job(request: Request[State], request_body: OutputRequest) -> Job:
    async with request.state["database"].reading() as session:
        job = await queries.get_any(session, path_job_id(request))
    if job is None:
        raise NotFound("The export does not exist.")
    if job.attempt != request_body.attempt or job.status not in ACTIVE:
        raise AttemptOver
    return job
