"""Hold every answer of the service in tests to its OpenAPI document."""

import json
import re
from functools import cache
from typing import Any

import httpx
from openapi_schema_validator import OAS31Validator
from starlette.routing import Match, Route

from gpu.export_types.registry import get_export_types
from service.api.openapi.document import encode_document
from service.api.routes import ROUTES

UNDESCRIBED_METHODS = {"HEAD", "OPTIONS"}


async def check_answer(response: httpx.Response) -> None:
    """Assert that the document says the status, the type and the shape of an answer of one of its routes."""
    operation = _find_operation(response.request)
    if operation is None:
        return
    described = operation["responses"].get(str(response.status_code))
    assert described is not None, (
        f"{response.request.method} {response.request.url.path}: {response.status_code}"
    )
    content = _resolve(described).get("content", {})
    media_type = response.headers.get("content-type", "").partition(";")[0]
    if not media_type.endswith("json"):
        return
    assert media_type in content, f"{operation['operationId']} {response.status_code}: {media_type}"
    await response.aread()
    _validator_of(operation["operationId"], response.status_code, media_type).validate(response.json())


@cache
def _read_document() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(encode_document(ROUTES, get_export_types().load_all()))
    return content


def _find_operation(request: httpx.Request) -> dict[str, Any] | None:
    scope = {"type": "http", "method": request.method, "path": request.url.path, "root_path": ""}
    if request.method in UNDESCRIBED_METHODS:
        return None
    for route in ROUTES:
        if isinstance(route, Route) and route.matches(scope)[0] is Match.FULL:
            path = _read_document()["paths"].get(re.sub(r":\w+}", "}", route.path), {})
            operation: dict[str, Any] | None = path.get(request.method.lower())
            return operation
    return None


def _resolve(response: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in response:
        return response
    shared: dict[str, Any] = _read_document()["components"]["responses"][response["$ref"].rpartition("/")[2]]
    return shared


@cache
def _validator_of(operation_id: str, status: int, media_type: str) -> OAS31Validator:
    document = _read_document()
    operation = next(
        operation
        for path in document["paths"].values()
        for operation in path.values()
        if operation["operationId"] == operation_id
    )
    schema = _resolve(operation["responses"][str(status)])["content"][media_type]["schema"]
    return OAS31Validator({"allOf": [schema], "components": document["components"]})
