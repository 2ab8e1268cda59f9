"""An event as a CloudEvent 1.0 in the structured JSON mode; pure.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md. Source and id are unique together,
since the id is that of the delivery. `traceparent` is the attribute of the extension for distributed tracing.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

CONTENT_TYPE: Final = "application/cloudevents+json; charset=utf-8"
_SUBJECTS: Final = (
    ("job_id", "/api/exports"),
    ("batch_id", "/api/batches"),
    ("endpoint_id", "/api/webhooks"),
)
"""The field of `data` that names what an event is about, and the path of all such things."""


def to_cloudevent(event: Mapping[str, Any], delivery_id: str, traceparent: str | None) -> bytes:
    """Return the body for an event of the standard format."""
    data = event["data"]
    subject, source = _find_subject(data)
    attributes: dict[str, object] = {
        "specversion": "1.0",
        "id": delivery_id,
        "source": source,
        "type": event["type"],
        "subject": subject,
        "time": event["timestamp"],
        "datacontenttype": "application/json",
    }
    if traceparent is not None:
        attributes["traceparent"] = traceparent
    return msgspec.json.encode(attributes | {"data": data})


def _find_subject(data: Mapping[str, Any]) -> tuple[str, str]:
    for field, source in _SUBJECTS:
        if field in data:
            return data[field], source
    raise ValueError("the event names neither an export, a batch nor an endpoint")
