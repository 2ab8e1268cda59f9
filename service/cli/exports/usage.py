"""The command that sums up what exports took and cost."""

from datetime import date
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table

from framehook.settings import DEFAULT_URL
from framehook.usages import GroupBy, Usage, UsageTotals
from service.cli.console import escape_cell, print_table
from service.cli.errors import print_errors
from service.cli.options import AsJson, Server, Token, open_client

_NO_KEY = {"project": "(no project)", "user": "(erased)"}


def parse_day(text: str) -> date:
    """Parse a date; raises BadParameter."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no date; give one such as 2026-01-31.") from None


def _day_option(name: str, help_text: str) -> Any:
    return typer.Option(name, metavar="DAY", parser=parse_day, help=help_text)


def usage(
    *,
    first: Annotated[date | None, _day_option("--from", "First day (UTC), 30 days ago by default.")] = None,
    last: Annotated[date | None, _day_option("--to", "Last day (UTC), today by default.")] = None,
    group_by: Annotated[GroupBy, typer.Option("--by", help="What to sum up by.")] = "day",
    server: Server = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Show what exports took and cost that ended on these days."""
    with print_errors(), open_client(server, token) as client:
        report = client.usage(first=first, last=last, group_by=group_by)
    if as_json:
        typer.echo(msgspec.json.encode(report).decode())
    elif report.groups:
        print_table(_to_table(report))
    else:
        typer.echo(f"No export has ended from {report.first} to {report.last}.")


def _to_table(report: Usage) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column(report.group_by.upper(), no_wrap=True)
    for heading in ("EXPORTS", "OUTPUT", "RUN", "COST"):
        table.add_column(heading, justify="right")
    for group in report.groups:
        table.add_row(escape_cell(group.key or _NO_KEY.get(report.group_by, "")), *_to_cells(group))
    table.add_row("TOTAL", *_to_cells(report.total), style="bold")
    return table


def _to_cells(totals: UsageTotals) -> tuple[str, ...]:
    """Format totals; a cost that lacks some seconds has a plus sign."""
    more = "+" if totals.unpriced_gpu_seconds else ""
    seconds = (f"{totals.output_seconds:.1f} s", f"{totals.gpu_seconds:.1f} s")
    return str(totals.exports), *seconds, f"${totals.cost_usd:.4f}{more}"
