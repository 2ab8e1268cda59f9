"""What is wrong with an export that a user asks for, found on his machine before a byte of the video is sent."""

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, NoReturn, Union, get_args, get_origin

import pydantic

from gpu.export_types.registry import UnknownExportType, find_export_type
from service.client import ClientError
from service.client.models import content_type, is_named_as_video

MAX_CONFIG_BYTES = 2 * 2**20
MAX_COMPLAINTS = 10
PLACEHOLDER_KEY = "uploads/0/video"
"""Stands for the key that the video gets when it is sent."""


def read_config(given: str) -> dict[str, Any]:
    """The parameters, from a file or as they are; raises ClientError."""
    inline = given.lstrip().startswith("{")
    name = "--config" if inline else given
    if not inline and Path(given).stat().st_size > MAX_CONFIG_BYTES:
        raise ClientError(f"{given} is larger than any configuration")
    try:
        text = given if inline else Path(given).read_text(encoding="utf-8")
        found = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ClientError(f"{name} is not valid JSON: {error.msg.lower()} at {place}") from None
    except (ValueError, RecursionError):
        raise ClientError(f"{name} is not valid JSON") from None
    if not isinstance(found, dict):
        raise ClientError(f"{name} does not hold a JSON object")
    return found


def validate_output_path(output: Path | None) -> Path | None:
    """Where to save, if anywhere; raises ClientError before any work is done for nothing."""
    if output is None:
        return None
    if output.is_dir():
        raise ClientError(f"{output} is a folder; name the file to save to")
    if not output.parent.is_dir():
        raise ClientError(f"there is no folder {output.parent}")
    return output


def check_video(path: Path) -> None:
    """Raise ClientError unless this is a file that can be read, is not empty, and is named as a video."""
    if path.is_dir():
        raise ClientError(f"{path} is a folder; name a video")
    if not path.exists():
        raise ClientError(f"there is no file {path}")
    if not path.is_file():
        raise ClientError(f"{path} is not a file; name a video")
    with path.open("rb") as file:
        if not file.read(1):
            raise ClientError(f"{path} is empty; name a video")
    if not is_named_as_video(path):
        kind = content_type(path)
        raise ClientError(
            f"{path} is not named as a video is ({kind}); its name must end in .mp4, .mov, .mkv or the like"
        )


def check_config(type_name: str, parameters: Mapping[str, Any]) -> None:
    """Raise ClientError with a line for each thing that is wrong with an export's parameters."""
    try:
        config = find_export_type(type_name).config
    except UnknownExportType as error:
        hint = "install the package that has the type on this machine, too"
        raise ClientError(f"{error}\n  {hint}") from None
    try:
        config.model_validate({**parameters, "input_key": PLACEHOLDER_KEY})
    except pydantic.ValidationError as error:
        lines = [_sentence(found["type"], found["loc"], found["msg"], config) for found in error.errors()]
        if len(lines) > MAX_COMPLAINTS:
            lines = [*lines[:MAX_COMPLAINTS], f"and {len(lines) - MAX_COMPLAINTS} more"]
        if not parameters:
            lines.append(f"give the parameters of {type_name} with --config FILE or --config JSON")
        raise ClientError("\n  ".join(lines)) from None


def _sentence(kind: str, loc: Sequence[int | str], message: str, config: type[pydantic.BaseModel]) -> str:
    where = ".".join(str(part) for part in ("config", *loc))
    if kind != "extra_forbidden":
        return f"{where}: {message.removeprefix('Value error, ')}"
    names = _field_names(config, loc[:-1])
    by_lower = {name.lower(): name for name in names}
    near = difflib.get_close_matches(str(loc[-1]).lower(), by_lower, n=1)
    advice = f"did you mean {by_lower[near[0]]!r}?" if near else f"the fields are {', '.join(names)}"
    return f"{where}: there is no such field; {advice}"


def _field_names(config: type[pydantic.BaseModel], loc: Sequence[int | str]) -> list[str]:
    """The fields of the model at this place within another, as clients write them."""
    model = config
    for part in loc:
        if isinstance(part, str) and (field := _fields(model).get(part)) is not None:
            model = _model_in(field.annotation) or model
    return [name for name in _fields(model) if name != "input_key" or model is not config]


def _fields(model: type[pydantic.BaseModel]) -> dict[str, pydantic.fields.FieldInfo]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _model_in(annotation: Any) -> type[pydantic.BaseModel] | None:
    """The model that a field holds, alone, in a list, or as one of several things."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return annotation
    if get_origin(annotation) in (list, Union, UnionType):
        return next((model for each in get_args(annotation) if (model := _model_in(each)) is not None), None)
    return None


def _refuse_constant(_name: str) -> NoReturn:
    raise ValueError
