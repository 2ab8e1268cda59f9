"""Hooks of schemathesis: exports of a file that exists, and streams that end."""

import os
from typing import Any

import schemathesis

SOURCE_KEY = "FUZZ_SOURCE_KEY"


@schemathesis.hook
def before_call(
    context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, Any]
) -> None:
    """Let valid exports read the uploaded file, and read the timeline of an export in the place of its stream."""
    operation_id = case.operation.definition.raw["operationId"]
    is_valid = case.meta is not None and case.meta.generation.mode.is_positive
    if operation_id == "create_export" and is_valid:
        body: Any = case.body
        body["config"]["input_key"] = os.environ[SOURCE_KEY]
    if operation_id == "watch_export":
        case.headers["Accept"] = "application/json"
