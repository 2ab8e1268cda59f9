"""Hooks of schemathesis: exports of a file that exists, and streams that end."""

import os
import zlib
from typing import Any
from urllib.parse import unquote

import schemathesis

SOURCE_KEY = "FUZZ_SOURCE_KEY"


@schemathesis.hook
def before_call(
    context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, Any]
) -> None:
    """Let valid exports read the uploaded file, and read the timeline of an export in the place of its stream."""
    operation_id = case.operation.definition.raw["operationId"]
    is_valid = case.meta is not None and case.meta.generation.mode.is_positive
    body: Any = case.body
    reads_file = operation_id == "create_export" or (operation_id == "estimate_export" and _is_chosen(body))
    if reads_file and is_valid:
        body["config"]["input_key"] = os.environ[SOURCE_KEY]
    # A key is taken for the token of an upload, but its path is another operation's.
    if "/" in unquote(str(case.path_parameters.get("upload", ""))):
        case.path_parameters["upload"] = "unknown"
    # A query string says all values as text, so those of another type violate nothing; a control character does.
    for name, value in (case.query or {}).items():
        is_text = name.startswith("metadata.") or name in ("batch_id", "project_id")
        if is_text and not is_valid and (value == "null" or not isinstance(value, str)):
            case.query[name] = "\x01"
    if operation_id == "watch_export":
        case.headers["Accept"] = "application/json"


def _is_chosen(body: Any) -> bool:
    """Tell whether an estimate reads the file: one of 16, because each starts a process."""
    has_config = isinstance(body, dict) and isinstance(body.get("config"), dict)
    return has_config and zlib.crc32(repr(body).encode()) % 16 == 0
