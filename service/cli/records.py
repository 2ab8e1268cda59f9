"""Show one object of the API: a line per field that has a value."""

from collections.abc import Iterator, Mapping
from datetime import datetime

import msgspec
import typer

from service.cli.console import to_printable


def print_record(record: msgspec.Struct, *, as_json: bool) -> None:
    """Print an object for people, or as JSON."""
    if as_json:
        typer.echo(msgspec.json.encode(record).decode())
        return
    rows = list(_list_rows(record))
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        typer.echo(to_printable(f"{name:<{width}}  {text}"))


def print_removal(action: str, object_id: str, sentence: str, *, as_json: bool) -> None:
    """Print that an object is gone: as a sentence, or as JSON with its id under what was done to it."""
    typer.echo(msgspec.json.encode({action: object_id}).decode() if as_json else to_printable(sentence))


def _list_rows(record: msgspec.Struct, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the names and values of all fields but the empty ones; a field that is new in the API is among them."""
    for field in msgspec.structs.fields(record):
        value = getattr(record, field.name)
        name = prefix + field.name.replace("_", " ")
        if isinstance(value, msgspec.Struct):
            yield from _list_rows(value, f"{name} ")
        elif value not in (None, "", (), {}):
            yield name, _to_text(value)


def _to_text(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case datetime():
            return value.isoformat(" ", "seconds")
        case Mapping():
            return ", ".join(f"{key}={_to_text(entry)}" for key, entry in value.items())
        case tuple():
            return ", ".join(map(str, value))
        case _:
            return str(value)
