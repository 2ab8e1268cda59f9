"""Parse requests and write JSON responses."""

from typing import Any, TypeVar, get_origin

import msgspec
import pydantic
from pydantic_core import ErrorDetails
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from service.api.state import State
from service.problems import FieldError, Invalid, NotFound, TooLarge, UnsupportedType

MAX_BODY_BYTES = 2 * 1024 * 1024
MAX_JOB_ID = 64
MAX_ERRORS = 50
"""How many errors a response names, so that it is not larger than a request of many unknown fields."""
MAX_SHOWN_NAME = 200
NO_NUL_PATTERN = r"^[^\x00]*$"  # PostgreSQL stores none in text

Model = TypeVar("Model", bound=pydantic.BaseModel)


class StrictModel(pydantic.BaseModel):
    """Base of all request models: unknown fields are rejected."""

    model_config = pydantic.ConfigDict(extra="forbid")


def require_one_of(*names: str) -> pydantic.ConfigDict:
    """Return the configuration of a model whose schema says that exactly one of these fields is given and not null."""

    def add_rule(schema: dict[str, Any]) -> None:
        not_null = {"not": {"type": "null"}}
        schema["oneOf"] = [{"required": [name], "properties": {name: not_null}} for name in names]

    return pydantic.ConfigDict(json_schema_extra=add_rule)


async def read_body(request: Request[State], limit: int = MAX_BODY_BYTES) -> bytes:
    """Read the whole body, but no more than `limit` bytes; raises TooLarge.

    Before a client sends it that waits for 100, its declared length counts.
    """
    chunks: list[bytes] = []
    received = 0
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise TooLarge(f"The request body may have at most {limit} bytes.")
    async for chunk in request.stream():
        received += len(chunk)
        if received > limit:
            raise TooLarge(f"The request body may have at most {limit} bytes.")
        chunks.append(chunk)
    return b"".join(chunks)


def is_json(content_type: str) -> bool:
    """Check that a content type is JSON."""
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == "application/json"


def parse_model(model: type[Model], raw: bytes) -> Model:
    """Parse a JSON body; raises Invalid, which names the fields that are wrong.

    A number in quotes is no number, as in the schema of the body.
    """
    try:
        return model.model_validate_json(raw, strict=True)
    except pydantic.ValidationError as error:
        raise invalid_from(error) from None


async def read_json(request: Request[State], model: type[Model]) -> tuple[Model, bytes]:
    """Return the parsed body and its bytes; raises UnsupportedType unless it is sent as JSON.

    A page of another origin can send forms without CORS, but no JSON: this prevents cross-site request forgery.
    """
    require_json(request)
    raw = await read_body(request)
    return parse_model(model, raw), raw


def require_json(request: Request[State]) -> None:
    """Raise UnsupportedType unless the body is sent as JSON."""
    if not is_json(request.headers.get("content-type", "")):
        raise UnsupportedType("Send JSON with `Content-Type: application/json`.")


async def read_optional_json(request: Request[State], model: type[Model]) -> Model:
    """Return the parsed body; an empty body, which needs no content type, is the same as `{}`."""
    raw = await read_body(request)
    if raw:
        require_json(request)
    return parse_model(model, raw or b"{}")


def parse_query(connection: HTTPConnection[State], model: type[Model], **path_fields: str) -> Model:
    """Parse the query string, and fields that the path gives; raises Invalid.

    A parameter may be repeated if its field is a tuple.
    """
    params = connection.query_params
    fields = model.model_fields
    repeatable = {name for name in fields if get_origin(fields[name].annotation) is tuple}
    values = {name: params.getlist(name) for name in params}
    lone = {name: texts[0] for name, texts in values.items() if len(texts) == 1 and name not in repeatable}
    try:
        return model.model_validate(values | lone | path_fields)
    except pydantic.ValidationError as error:
        raise invalid_from(error, "query") from None


def json_response(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Write a JSON response that caches do not store."""
    return Response(
        msgspec.json.encode(content),
        status_code=status,
        media_type="application/json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def path_job_id(connection: HTTPConnection[State]) -> str:
    """Return the job id in the path; raises NotFound for a string that can't be one."""
    return path_id(connection, "job_id", "The export does not exist.")


def path_id(connection: HTTPConnection[State], name: str, unknown: str) -> str:
    """Return an id in the path; raises NotFound, with the sentence, for a string that can't be one."""
    value = str(connection.path_params[name])
    if len(value) > MAX_JOB_ID or not value.isascii() or not value.isprintable():
        raise NotFound(unknown)
    return value


_SENTENCES = {
    "extra_forbidden": "unknown field; remove it, or correct its name",
    "missing": "this field is required",
    "json_invalid": "the body is not valid JSON: {error}",
    "string_pattern_mismatch": "it must match the pattern {pattern}",
}
"""Plainer than pydantic's, by the type of the error."""


def _to_sentence(error: ErrorDetails) -> str:
    sentence = _SENTENCES.get(error["type"])
    if sentence is None:
        return error["msg"].removeprefix("Value error, ")
    return sentence.format_map(error.get("ctx", {}))


def _shorten(part: str | int) -> str | int:
    return part if isinstance(part, int) else part[:MAX_SHOWN_NAME]


def invalid_from(error: pydantic.ValidationError, *prefix: str) -> Invalid:
    """Turn pydantic's errors into a problem that names each field.

    The rejected values are not repeated.
    """
    errors = [
        FieldError(loc=[*prefix, *map(_shorten, item["loc"])], msg=_to_sentence(item))
        for item in error.errors()[:MAX_ERRORS]
    ]
    first = errors[0]
    where = ".".join(str(part) for part in first["loc"])
    return Invalid(f"{where}: {first['msg']}" if where else first["msg"], errors=errors)
