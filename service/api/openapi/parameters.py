"""Parameters that many routes have: parts of paths, and request headers."""

from typing import Any, Final

from service.api.openapi.operations import RequestHeader
from service.api.requests import MAX_JOB_ID

_ID: Final = {"type": "string", "minLength": 1, "maxLength": MAX_JOB_ID, "pattern": "^[ -~]+$"}
_ID_TEXT = {**_ID, "pattern": "^[!-.0-~]+$"}

PATH_PARAMETERS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "job_id": ("The id of the export: its `job_id`, or the `export_id` that the client chose.", _ID_TEXT),
    "batch_id": ("The id of the batch.", _ID_TEXT),
    "project_id": (
        "The id of the project; a number matches its digits.",
        {"type": "string", "maxLength": 200},
    ),
    "guide": ("The name of the guide.", {"type": "string", "minLength": 1}),
    "image": ("The name of the image.", {"type": "string", "minLength": 1}),
    "asset": ("The name of the file.", {"type": "string", "minLength": 1}),
    "file": ("The path of the file.", {"type": "string", "minLength": 1}),
    "id": ("The id of the webhook.", _ID_TEXT),
    "key_id": ("The id of the API key.", _ID_TEXT),
    "delivery_id": ("The id of the delivery: the `webhook-id` of its message.", _ID_TEXT),
    "upload": (
        "The token of an upload in parts, from the response to its creation.",
        {"type": "string", "minLength": 1},
    ),
    "number": (
        "The number of the part, from 1.",
        {"type": "integer", "minimum": 1},
    ),
    "folder": ("The second part of the key `uploads/…/…`.", {"type": "string", "minLength": 1}),
    "name": ("The last part of the key: the name of the file.", {"type": "string", "minLength": 1}),
    "key": (
        "The key of the object; its slashes may be sent as they are.",
        {"type": "string", "minLength": 1},
    ),
}

IDEMPOTENCY_KEY = RequestHeader(
    "Idempotency-Key",
    "Any text that is new for each export: a request that repeats it gets the first export instead of another.",
    max_length=255,
)
TRACEPARENT = RequestHeader(
    "traceparent", "The trace of the request (W3C Trace Context), which the webhooks of the export continue."
)
SIGNATURE_HEADERS = (
    RequestHeader("webhook-id", "The id of the message.", max_length=256),
    RequestHeader(
        "webhook-timestamp", "When the message was signed, in seconds since the epoch.", pattern="^[0-9]+$"
    ),
)
LAST_EVENT_ID = RequestHeader(
    "Last-Event-ID",
    "The id of the last event that the client got; `EventSource` sends it when it reconnects.",
)
RANGE = RequestHeader("Range", "The bytes to send, such as `bytes=0-1023`.")
IF_NONE_MATCH = RequestHeader("If-None-Match", "An `ETag`: the answer is 304 if the file is still the same.")
IF_MATCH = RequestHeader("If-Match", "An `ETag`: the answer is 412 if the file is another one.")
