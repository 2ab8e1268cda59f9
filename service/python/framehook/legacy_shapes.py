"""Exports as a service with LEGACY_FRONTEND shows them: `error` is a sentence, its code a field of its own.

Cancelled exports have the status `error` there.
"""

from typing import Any

CANCELLED = "cancelled"


def restore_errors(value: Any) -> Any:
    """Return a decoded response in which each such export has its usual `status` and `error` again."""
    if isinstance(value, list):
        return [restore_errors(item) for item in value]
    if not isinstance(value, dict):
        return value
    restored = {name: restore_errors(item) for name, item in value.items()}
    if isinstance(value.get("error"), str) and "error_code" in value:
        restored["error"] = {"code": value["error_code"], "message": value["error"]}
        if value["error_code"] == CANCELLED:
            restored |= {"status": CANCELLED, "error": None}
    return restored
