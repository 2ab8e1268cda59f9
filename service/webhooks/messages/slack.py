"""An event as the message of a Slack incoming webhook; pure.

https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks. The text is for people: what has happened to
which export, and the figures or the error.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from callbacks.envelope import EventType
from service.webhooks.models import WebhookEvent
from service.webhooks.retry_policy import TEST_EVENT

MAX_PART_CHARACTERS: Final = 500
_ESCAPES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
"""The characters of Slack's control sequences: without them a name cannot mention people or link elsewhere."""
_KILOBYTE: Final = 1_000

Data = Mapping[str, Any]


def to_slack_message(event: Mapping[str, Any]) -> bytes:
    """Return the body for an event of the standard format."""
    describe = _SENTENCES.get(event["type"])
    title, *details = describe(event["data"]) if describe else [event["type"]]
    lines = [f"*{escape(title)}*", *(escape(detail) for detail in details if detail)]
    return msgspec.json.encode({"text": "\n".join(lines)})


def escape(text: str) -> str:
    """Return the text in one line, shortened, without what Slack reads as a control sequence."""
    line = " ".join(text.split())
    shortened = line if len(line) <= MAX_PART_CHARACTERS else f"{line[:MAX_PART_CHARACTERS]}…"
    return shortened.translate(_ESCAPES)


def format_size(size: float) -> str:
    """Return a size in the unit in which it is a short number: `8.2 MB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < _KILOBYTE:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= _KILOBYTE
    return f"{size:.1f} TB"


def _name(export: Data) -> str:
    return export["name"] or f"{export['type']} of {export['input_key']}"


def _identify(export: Data) -> str:
    cost = export["cost_usd"]
    facts = [f"Export {export['job_id']}", export["type"], f"${cost:.4f}" if cost else ""]
    return " · ".join(filter(None, facts))


def _describe_started(export: Data) -> list[str]:
    return [f"Export started: {_name(export)}", _identify(export)]


def _describe_progress(export: Data) -> list[str]:
    return [f"Export at {export['progress']:.0f} %: {_name(export)}", export["message"], _identify(export)]


def _describe_completed(export: Data) -> list[str]:
    return [f"Export completed: {_name(export)}", _describe_output(export["output"]), _identify(export)]


def _describe_failed(export: Data) -> list[str]:
    error = export["error"] or {"code": "error", "message": export["message"]}
    return [
        f"Export failed: {_name(export)}",
        f"{error['message']} ({error['code']})".strip(),
        _identify(export),
    ]


def _describe_cancelled(export: Data) -> list[str]:
    return [f"Export cancelled: {_name(export)}", _identify(export)]


def _describe_expired(export: Data) -> list[str]:
    if export["output"] is None:
        return [f"The file of an export was deleted: {_name(export)}", _identify(export)]
    until = f"It is deleted at {export['expires_at']}."
    return [f"The file of an export expires: {_name(export)}", until, _identify(export)]


def _describe_erased(erasure: Data) -> list[str]:
    return [f"Export erased: {erasure['job_id']}"]


def _describe_batch(batch: Data) -> list[str]:
    counts = ", ".join(f"{count} {status}" for status, count in batch["counts"].items() if count)
    name = batch["name"] or batch["batch_id"]
    return [f"Batch completed: {name}", f"{batch['total']} exports: {counts}", f"Batch {batch['batch_id']}"]


def _describe_test(test: Data) -> list[str]:
    return ["Test of a webhook", test["message"]]


def _describe_output(output: Data | None) -> str:
    if output is None:
        return ""
    picture = f"{output['width']} x {output['height']}" if output["width"] else ""
    duration = f"{output['duration']:.1f} s" if output["duration"] else ""
    return " · ".join(filter(None, (picture, duration, format_size(output["size"]))))


_SENTENCES: Final[Mapping[str, Callable[[Data], list[str]]]] = {
    EventType.STARTED: _describe_started,
    EventType.PROGRESS: _describe_progress,
    EventType.COMPLETED: _describe_completed,
    EventType.FAILED: _describe_failed,
    EventType.CANCELLED: _describe_cancelled,
    WebhookEvent.EXPIRED: _describe_expired,
    WebhookEvent.ERASED: _describe_erased,
    WebhookEvent.BATCH_COMPLETED: _describe_batch,
    TEST_EVENT: _describe_test,
}
