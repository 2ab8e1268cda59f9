"""The bodies of the formats: CloudEvents as its specification has them, and text for people in Slack."""

from datetime import datetime
from typing import Any

import msgspec
import pytest

from service.webhooks.messages.cloudevents import to_cloudevent
from service.webhooks.messages.slack import MAX_PART_CHARACTERS, escape, format_size, to_slack_message

EXPORT: dict[str, Any] = {
    "job_id": "job-1",
    "name": "Trailer",
    "type": "framing",
    "status": "complete",
    "progress": 42.4,
    "message": "Encoding",
    "error": None,
    "input_key": "uploads/a.mp4",
    "output": {"width": 608, "height": 1080, "duration": 12.5, "size": 8_200_000},
    "cost_usd": 0.0123,
    "expires_at": "2026-02-01T00:00:00Z",
}
AT = "2026-01-02T03:04:05.678Z"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def build_event(type_: str, data: dict[str, Any]) -> dict[str, Any]:
    return {"type": type_, "timestamp": AT, "data": data}


@pytest.mark.parametrize(
    ("type_", "data", "source", "subject"),
    [
        ("export.completed", EXPORT, "/api/exports", "job-1"),
        ("export.erased", {"job_id": "job-1", "erased_at": AT}, "/api/exports", "job-1"),
        ("batch.completed", {"batch_id": "batch-1", "total": 2}, "/api/batches", "batch-1"),
        ("webhook.test", {"endpoint_id": "ep_1", "message": "A test."}, "/api/webhooks", "ep_1"),
    ],
)
def test_a_cloudevent_has_the_attributes_of_its_specification(
    type_: str, data: dict[str, Any], source: str, subject: str
) -> None:
    event = msgspec.json.decode(to_cloudevent(build_event(type_, data), "delivery-1", None))
    assert event == {
        "specversion": "1.0",
        "id": "delivery-1",
        "source": source,
        "type": type_,
        "subject": subject,
        "time": AT,
        "datacontenttype": "application/json",
        "data": data,
    }
    assert datetime.fromisoformat(event["time"]).tzinfo is not None
    traced = msgspec.json.decode(to_cloudevent(build_event(type_, data), "delivery-1", TRACE))
    assert traced == event | {"traceparent": TRACE}


FAILURE = {"code": "source_damaged", "message": "The source is damaged."}
BATCH = {"batch_id": "b-1", "name": None, "total": 3, "counts": {"complete": 2, "error": 1, "cancelled": 0}}
TEXTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "completed": (
        "export.completed",
        EXPORT,
        "*Export completed: Trailer*\n608 x 1080 · 12.5 s · 8.2 MB\nExport job-1 · framing · $0.0123",
    ),
    "completed, without a picture": (
        "export.completed",
        EXPORT | {"output": {"width": 0, "height": 0, "duration": 0.0, "size": 900}, "cost_usd": None},
        "*Export completed: Trailer*\n900 bytes\nExport job-1 · framing",
    ),
    "failed": (
        "export.failed",
        EXPORT | {"name": None, "error": FAILURE, "output": None, "cost_usd": 0.0},
        (
            "*Export failed: framing of uploads/a.mp4*\n"
            "The source is damaged. (source_damaged)\nExport job-1 · framing"
        ),
    ),
    "started": ("export.started", EXPORT, "*Export started: Trailer*\nExport job-1 · framing · $0.0123"),
    "progress": (
        "export.progress",
        EXPORT,
        "*Export at 42 %: Trailer*\nEncoding\nExport job-1 · framing · $0.0123",
    ),
    "cancelled": (
        "export.cancelled",
        EXPORT,
        "*Export cancelled: Trailer*\nExport job-1 · framing · $0.0123",
    ),
    "expires": (
        "export.expired",
        EXPORT,
        (
            "*The file of an export expires: Trailer*\n"
            "It is deleted at 2026-02-01T00:00:00Z.\nExport job-1 · framing · $0.0123"
        ),
    ),
    "expired": (
        "export.expired",
        EXPORT | {"output": None},
        "*The file of an export was deleted: Trailer*\nExport job-1 · framing · $0.0123",
    ),
    "erased": ("export.erased", {"job_id": "job-1", "erased_at": AT}, "*Export erased: job-1*"),
    "batch": (
        "batch.completed",
        BATCH,
        "*Batch completed: b-1*\n3 exports: 2 complete, 1 error\nBatch b-1",
    ),
    "test": (
        "webhook.test",
        {"endpoint_id": "ep_1", "message": "This is a test."},
        "*Test of a webhook*\nThis is a test.",
    ),
    "an event of a later version": ("export.paused", {}, "*export.paused*"),
}


@pytest.mark.parametrize(("type_", "data", "expected"), list(TEXTS.values()), ids=list(TEXTS))
def test_slack_gets_a_text_that_a_person_can_read(type_: str, data: dict[str, Any], expected: str) -> None:
    assert msgspec.json.decode(to_slack_message(build_event(type_, data))) == {"text": expected}


def test_a_name_can_neither_mention_people_nor_fill_the_channel() -> None:
    assert escape("<!channel> a & b\n\n*bold*") == "&lt;!channel&gt; a &amp; b *bold*"
    assert escape("x" * 9_999) == "x" * MAX_PART_CHARACTERS + "…"


def test_sizes_are_short_numbers() -> None:
    assert [format_size(size) for size in (0, 999, 1_000, 2_500_000, 3.2e9, 4e12, 5e15)] == [
        *("0 bytes", "999 bytes", "1.0 kB", "2.5 MB", "3.2 GB", "4.0 TB", "5000.0 TB")
    ]
