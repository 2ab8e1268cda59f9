"""Change all exports that conditions select."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import msgspec
import typer

from framehook import ChangedExports, Client, FramehookError
from framehook.names import StatusName
from framehook.options import Filters, to_conditions
from service.cli.errors import FAILED_STATUS, confirm, exit_with
from service.cli.exports.filters import FilterOptions

MAX_COUNTED = 1_000
"""Exports that are counted before a question; more are said to be more."""


@dataclass(frozen=True)
class BulkAction:
    """What is done to many exports: its name, the name of its end, and the states in which exports allow it."""

    name: str
    past: str
    states: tuple[StatusName, ...]
    run: Callable[[Client, Filters], ChangedExports]


CANCEL = BulkAction(
    "cancel",
    "cancelled",
    (StatusName.PENDING, StatusName.PROCESSING),
    lambda client, filters: client.cancel_all(**filters),
)
RETRY = BulkAction(
    "retry",
    "pending again",
    (StatusName.ERROR, StatusName.CANCELLED),
    lambda client, filters: client.retry_all(**filters),
)


def change_all(client: Client, action: BulkAction, filters: Filters, *, yes: bool, as_json: bool) -> None:
    """Ask, change the exports that pass the filters, and print how many; exit with 1 if some could not be."""
    if not yes:
        count = sum(1 for _ in islice(client.list(**filters), MAX_COUNTED + 1))
        exports = f"more than {MAX_COUNTED:,} exports" if count > MAX_COUNTED else count_exports(count)
        if count:
            confirm(f"{action.name.capitalize()} {exports}?", "--yes")
    result = action.run(client, filters)
    if as_json:
        typer.echo(msgspec.json.encode(result).decode())
    else:
        typer.echo(f"{result.changed} of {count_exports(result.matched)} are {action.past}.")
    if result.changed < result.matched:
        exit_with(FAILED_STATUS, f"the others can't be {action.past} now")


def select_exports(job_id: str | None, conditions: FilterOptions, action: BulkAction) -> Filters | None:
    """Return the filters of the exports to change; None if it is the export that is named. Raises FramehookError."""
    filters = conditions.to_filters()
    has_conditions = bool(to_conditions(filters))
    if has_conditions == (job_id is not None):
        raise FramehookError(
            "give the id of an export, or conditions such as --status and --project-id; not both"
        )
    if job_id is not None:
        return None
    filters["status"] = [status for status in action.states if status in (conditions.status or action.states)]
    if not filters["status"]:
        raise FramehookError(f"{action.name} exports that are {' or '.join(action.states)}; others can't be")
    return filters


def count_exports(count: int) -> str:
    return f"{count} export{'' if count == 1 else 's'}"
