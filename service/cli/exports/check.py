"""Validate the video and the parameters of an export before anything is uploaded."""

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, NoReturn, Union, get_args, get_origin

import pydantic
import typer

from framehook import FramehookError
from gpu.export_types.registry import BUILT_IN, UnknownExportType, find_export_type
from service.video_types import NoVideoType, find_video_type

MAX_CONFIG_BYTES = 2 * 2**20
MAX_ERRORS_SHOWN = 10
PLACEHOLDER_KEY = "uploads/0/video"
"""Placeholder for the key that the video gets when it is uploaded."""
TYPES = f"{', '.join(BUILT_IN)}, or a type of an installed package"


Type = Annotated[str, typer.Option("--type", metavar="TYPE", help=f"Type of the export: {TYPES}.")]
Config = Annotated[
    str,
    typer.Option(metavar="FILE|JSON", help="Parameters of the type: a JSON file, or the JSON itself."),
]


def read_config(source: str) -> dict[str, Any]:
    """Read the parameters from a file or from JSON text; raises FramehookError."""
    is_inline = source.lstrip().startswith("{")
    name = "--config" if is_inline else source
    if not is_inline and Path(source).stat().st_size > MAX_CONFIG_BYTES:
        raise FramehookError(f"{source} is too large for a configuration; the limit is 2 MiB")
    try:
        text = source if is_inline else Path(source).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise FramehookError(f"{name} is not valid JSON") from None
    parameters = parse_json(text, name)
    if not isinstance(parameters, dict):
        raise FramehookError(f"{name} is not a JSON object")
    return parameters


def parse_json(text: str, name: str, *, first_line: int = 1) -> Any:
    """Parse JSON that begins in this line of what `name` names; raises FramehookError."""
    try:
        return json.loads(text, parse_constant=_reject_constant)
    except json.JSONDecodeError as error:
        position = f"line {first_line + error.lineno - 1}, column {error.colno}"
        raise FramehookError(f"{name} is not valid JSON: {error.msg.lower()} at {position}") from None
    except (ValueError, RecursionError):
        raise FramehookError(f"{name} is not valid JSON") from None


def check_video(path: Path) -> None:
    """Raise FramehookError unless this is a readable, non-empty file with the suffix of a video."""
    if path.is_dir():
        raise FramehookError(f"{path} is a folder; give a video file")
    if not path.exists():
        raise FramehookError(f"file {path} does not exist")
    if not path.is_file():
        raise FramehookError(f"{path} is not a file; give a video file")
    with path.open("rb") as file:
        if not file.read(1):
            raise FramehookError(f"{path} is empty; give a video file")
    try:
        find_video_type(path.name, "")
    except NoVideoType:
        advice = "rename it to .mp4, .mov, .mkv or similar"
        raise FramehookError(f"{path} does not have the suffix of a video; {advice}") from None


def check_config(type_name: str, parameters: Mapping[str, Any]) -> None:
    """Raise FramehookError with a line for each invalid parameter."""
    try:
        config = find_export_type(type_name).config
    except UnknownExportType as error:
        hint = "install the package that has the type on this machine, too"
        raise FramehookError(f"{error}\n  {hint}") from None
    try:
        config.model_validate({**parameters, "input_key": PLACEHOLDER_KEY})
    except pydantic.ValidationError as error:
        lines = [_describe(item["type"], item["loc"], item["msg"], config) for item in error.errors()]
        if len(lines) > MAX_ERRORS_SHOWN:
            lines = [*lines[:MAX_ERRORS_SHOWN], f"and {len(lines) - MAX_ERRORS_SHOWN} more"]
        if not parameters:
            lines.append(f"give the parameters of {type_name} with --config FILE or --config JSON")
        raise FramehookError("\n  ".join(lines)) from None


def _describe(kind: str, loc: Sequence[int | str], message: str, config: type[pydantic.BaseModel]) -> str:
    name = ".".join(str(part) for part in ("config", *loc))
    if kind != "extra_forbidden":
        return f"{name}: {message.removeprefix('Value error, ')}"
    names = _field_names(config, loc[:-1])
    by_lower = {field.lower(): field for field in names}
    similar = difflib.get_close_matches(str(loc[-1]).lower(), by_lower, n=1)
    advice = f"did you mean {by_lower[similar[0]]!r}?" if similar else f"the fields are {', '.join(names)}"
    return f"{name}: unknown field; {advice}"


def _field_names(config: type[pydantic.BaseModel], loc: Sequence[int | str]) -> list[str]:
    """Return the JSON names of the fields of the nested model at `loc`."""
    model = config
    for part in loc:
        if isinstance(part, str) and (field := _fields(model).get(part)) is not None:
            model = _model_in(field.annotation) or model
    return [name for name in _fields(model) if name != "input_key" or model is not config]


def _fields(model: type[pydantic.BaseModel]) -> dict[str, pydantic.fields.FieldInfo]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _model_in(annotation: Any) -> type[pydantic.BaseModel] | None:
    """Return the model in an annotation: the type, a list's item or a union's member."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return annotation
    if get_origin(annotation) in (list, Union, UnionType):
        return next((model for part in get_args(annotation) if (model := _model_in(part)) is not None), None)
    return None


def _reject_constant(_name: str) -> NoReturn:
    raise ValueError
