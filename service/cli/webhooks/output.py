"""Print what the commands on webhooks have in common."""

from datetime import datetime

import msgspec
import typer
from rich.table import Table

from service.cli.console import to_printable


def format_time(time: datetime | None) -> str:
    """Format a time in UTC; nothing is empty."""
    return "" if time is None else f"{time:%Y-%m-%dT%H:%M:%SZ}"


def create_table(*columns: str) -> Table:
    """Create a table whose last column takes the room that is left."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns[:-1]:
        table.add_column(column, no_wrap=column not in {"EVENTS", "URL"}, overflow="fold")
    table.add_column(columns[-1], overflow="fold")
    return table


def print_result(result: msgspec.Struct, sentence: str, as_json: bool) -> None:
    """Print what the service answered: as JSON, or as sentences."""
    lines = "\n".join(to_printable(line) for line in sentence.splitlines())
    typer.echo(msgspec.json.encode(result).decode() if as_json else lines)
