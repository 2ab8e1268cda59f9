"""Read the exports of a new batch from a file."""

import sys
from pathlib import Path
from typing import Any

import msgspec

from framehook import FramehookError
from service.cli.exports.check import parse_json

MAX_FILE_BYTES = 16 * 2**20
"""The service takes no longer request."""
STANDARD_INPUT = Path("-")


class BatchFile(msgspec.Struct, forbid_unknown_fields=True):
    """A new batch: its exports as `POST /api/exports` takes them, and what the batch is called."""

    exports: list[dict[str, Any]]
    name: str | None = None
    metadata: dict[str, str | bool | int | float] | None = None


def read_batch(source: Path) -> BatchFile:
    """Read a batch, as JSON: an object, a list of exports, or an export in each line. Raises FramehookError."""
    name = "the standard input" if source == STANDARD_INPUT else str(source)
    text = _read_text(source, name)
    lines = text.split("\n")
    numbers = [number for number, line in enumerate(lines, 1) if line.strip()]
    if not numbers:
        raise FramehookError(f"{name} is empty; give the exports of the batch as JSON")
    if len(numbers) > 1 and _is_whole_object(lines[numbers[0] - 1]):
        exports = [parse_json(lines[number - 1], name, first_line=number) for number in numbers]
    else:
        exports = parse_json(text, name)
    return _to_batch(exports, name)


def _is_whole_object(line: str) -> bool:
    """Tell whether a line is an object in itself, so that each line is one."""
    try:
        return isinstance(parse_json(line, ""), dict)
    except FramehookError:
        return False


def _to_batch(content: Any, name: str) -> BatchFile:
    if isinstance(content, dict) and "exports" not in content:
        content = [content]
    if isinstance(content, list):
        content = {"exports": content}
    try:
        return msgspec.convert(content, BatchFile)
    except msgspec.ValidationError as error:
        raise FramehookError(f"{name} is not a batch: {error}") from None


def _read_text(source: Path, name: str) -> str:
    with sys.stdin.buffer if source == STANDARD_INPUT else source.open("rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise FramehookError(f"{name} is too large for a batch; the limit is 16 MiB")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise FramehookError(f"{name} is not UTF-8") from None
