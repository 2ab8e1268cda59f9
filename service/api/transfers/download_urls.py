"""`POST …/download-url`: a URL at which anyone who has it reads an output or a source, until it expires.

For players, links and other people, who send no token.
"""

import time
from typing import Annotated, Final, TypedDict

import pydantic
from starlette.requests import Request
from starlette.responses import Response

from gpu.config import WholeNumber
from infra.storage import Disposition, Presentation
from service.api.exports import URL_SECONDS, check_output, load_complete_job, present_output
from service.api.openapi.operations import Body, Tag, declare_operation
from service.api.requests import StrictModel, json_response, read_optional_json
from service.api.state import State
from service.api.transfers.probes import find_upload
from service.exports.checks import FileExpired
from service.jobs.serializers import format_timestamp
from service.keys.scopes import Scope
from service.problems import Erased, NotComplete, NotFound, OutputReplaced
from service.video_types import type_from_name

MIN_URL_SECONDS: Final = 60
MAX_URL_SECONDS: Final = 7 * 86_400
"""S3 signs no URL for longer."""


class DownloadUrlOptions(StrictModel):
    """The body of `POST …/download-url`: whether browsers show or save the file, and a time in seconds."""

    disposition: Disposition = "attachment"
    expires_in: Annotated[int, pydantic.Field(ge=MIN_URL_SECONDS, le=MAX_URL_SECONDS), WholeNumber] = (
        URL_SECONDS
    )


class DownloadUrl(TypedDict):
    """A URL that needs no authorization, and when it expires."""

    url: str
    expires_at: str


@declare_operation(
    "create_export_download_url",
    Tag.EXPORTS,
    body=Body(DownloadUrlOptions, required=False),
    answers={200: DownloadUrl},
    problems=(NotComplete, FileExpired, OutputReplaced, Erased),
    scope=Scope.EXPORTS_READ,
)
async def create_for_export(request: Request[State]) -> Response:
    """Create a URL at which the exported file can be read without a token."""
    job = await load_complete_job(request)
    options = await read_optional_json(request, DownloadUrlOptions)
    stored = await request.state["storage"].find(job.user_id, job.output_key)
    if stored is None:
        raise NotFound("The file was deleted.")
    check_output(stored, job)
    presentation = present_output(job, options.disposition)
    return await _url_response(
        request, (job.user_id, job.output_key), presentation, options, size=stored.size
    )


@declare_operation(
    "create_upload_download_url",
    Tag.UPLOADS,
    body=Body(DownloadUrlOptions, required=False),
    answers={200: DownloadUrl},
    scope=Scope.UPLOADS_READ,
)
async def create_for_upload(request: Request[State]) -> Response:
    """Create a URL at which an uploaded file can be read without a token."""
    user_id = await request.state["authenticator"].user(request)
    options = await read_optional_json(request, DownloadUrlOptions)
    key, _ = await find_upload(request, user_id)
    filename = key.rpartition("/")[2]
    presentation = Presentation(filename, type_from_name(filename), options.disposition)
    return await _url_response(request, (user_id, key), presentation, options)


async def _url_response(
    request: Request[State],
    place: tuple[str, str],
    presentation: Presentation,
    options: DownloadUrlOptions,
    *,
    size: int | None = None,
) -> Response:
    """Sign a URL for the object of a user and key; a folder's is for one of this size in bytes only."""
    expires_at = int(time.time()) + options.expires_in
    signed = await request.state["storage"].sign_read_url(
        *place, expires_seconds=options.expires_in, presentation=presentation, size=size
    )
    content = DownloadUrl(url=signed.url, expires_at=format_timestamp(expires_at))
    return json_response(content)
