"""The commands about webhooks, which talk to a running service: `framehook webhooks …`."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from callbacks.envelope import EventType
from service.cli.console import to_printable
from service.cli.exports import DEFAULT_SERVER, FAILED, PIPE_WIDTH, AsJson, Server, Token, print_errors
from service.client import Client
from service.client.webhooks import Attempt, Delivery, Endpoint
from service.webhooks.models import DeliveryState

_COLORS = {"delivered": "green", "failed": "red", "superseded": "yellow", "pending": "cyan"}
_USUAL = "all but progress"

webhooks = typer.Typer(no_args_is_help=True, help="Look after webhooks: endpoints, secrets, deliveries.")

Id = Annotated[str, typer.Argument(metavar="ID", help="The endpoint's id.")]


@webhooks.command()
def add(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where to deliver to.")],
    *,
    event: Annotated[
        list[EventType] | None, typer.Option(help="What to be told of; may be repeated.", show_default=_USUAL)
    ] = None,
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    ed25519: Annotated[bool, typer.Option("--ed25519", help="Sign with a public key as well.")] = False,
    server: Server = DEFAULT_SERVER,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Add an endpoint, and show its secret, this once."""
    with print_errors(), Client(server, token) as client:
        events = [one.value for one in event or ()]
        made = client.webhooks.add(url, events=events, description=description, ed25519=ed25519)
        key = f"\nPublic key: {made.public_key}" if made.public_key else ""
        _say(made, f"Endpoint {made.id} is made.\nSecret, shown this once: {made.secret}{key}", as_json)


@webhooks.command("list")
def list_(server: Server = DEFAULT_SERVER, token: Token = None, as_json: AsJson = False) -> None:
    """List endpoints, oldest first."""
    with print_errors(), Client(server, token) as client:
        found = client.webhooks.list_all()
        if as_json:
            _say(found, "", as_json)
        elif found.webhooks:
            _print(_endpoints(found.webhooks))
        else:
            typer.echo("There are no webhooks.")


@webhooks.command("test")
def try_out(
    endpoint_id: Id, server: Server = DEFAULT_SERVER, token: Token = None, as_json: AsJson = False
) -> None:
    """Send a test event, and say what came back."""
    with print_errors(), Client(server, token) as client:
        made = client.webhooks.test(endpoint_id)
        _say(made, f"The test event is {made.state}: {_came_back(made)}", as_json)
        if made.state != DeliveryState.DELIVERED:
            raise typer.Exit(FAILED)


@webhooks.command()
def deliveries(
    endpoint_id: Id,
    *,
    state: Annotated[DeliveryState | None, typer.Option(help="Only those.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 20,
    server: Server = DEFAULT_SERVER,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """List what was sent, newest first."""
    with print_errors(), Client(server, token) as client:
        found = client.webhooks.deliveries(endpoint_id, limit, state=state.value if state else None)
        if as_json:
            _say(found, "", as_json)
        elif found.deliveries:
            _print(_deliveries(found.deliveries))
        else:
            typer.echo("There are no deliveries.")


@webhooks.command()
def recover(
    endpoint_id: Id,
    *,
    hours: Annotated[float, typer.Option(min=0.01, max=24 * 366, help="How far to go back.")] = 24.0,
    server: Server = DEFAULT_SERVER,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Send the outcome of every export that ended since, unless the endpoint has taken it."""
    with print_errors(), Client(server, token) as client:
        since = datetime.now(UTC) - timedelta(hours=hours)
        made = client.webhooks.recover(endpoint_id, since.isoformat())
        _say(made, f"Deliveries on their way: {made.recovered}.", as_json)


@webhooks.command()
def enable(
    endpoint_id: Id, server: Server = DEFAULT_SERVER, token: Token = None, as_json: AsJson = False
) -> None:
    """Let an endpoint that was disabled begin anew; `recover` sends what it missed."""
    with print_errors(), Client(server, token) as client:
        found = client.webhooks.enable(endpoint_id)
        _say(found, f"Endpoint {found.id} is enabled.", as_json)


@webhooks.command()
def rotate(
    endpoint_id: Id, server: Server = DEFAULT_SERVER, token: Token = None, as_json: AsJson = False
) -> None:
    """Make a new secret, and show it, this once; the one before signs beside it for a day."""
    with print_errors(), Client(server, token) as client:
        found = client.webhooks.rotate(endpoint_id)
        until = f"The one before goes on signing until {found.previous_secret_until}."
        _say(found, f"New secret, shown this once: {found.secret}\n{until}", as_json)


@webhooks.command()
def remove(endpoint_id: Id, server: Server = DEFAULT_SERVER, token: Token = None) -> None:
    """Remove an endpoint, its log, and what waits for it."""
    with print_errors(), Client(server, token) as client:
        client.webhooks.remove(endpoint_id)
        typer.echo(to_printable(f"Endpoint {endpoint_id} is removed."))


def _endpoints(found: Sequence[Endpoint]) -> Table:
    made = _table("ID", "STATE", "EVENTS", "URL", "DESCRIPTION")
    for one in found:
        state = Text("enabled", "green") if one.enabled else Text(f"disabled: {one.disabled_reason}", "red")
        if one.enabled and one.failing_since:
            state = Text("failing", "yellow")
        events = ", ".join(event.removeprefix("export.") for event in one.events)
        made.add_row(_cell(one.id), state, *map(_cell, (events, one.url, one.description)))
    return made


def _deliveries(found: Sequence[Delivery]) -> Table:
    made = _table("DELIVERY", "MADE", "EVENT", "STATE", "TRIES", "CAME BACK")
    for one in found:
        state = Text(to_printable(one.state), _COLORS.get(one.state, ""))
        tries = _cell(str(len(one.attempts)))
        made.add_row(
            *map(_cell, (one.delivery_id, one.created_at[:19], one.type)),
            state,
            tries,
            _cell(_came_back(one)),
        )
    return made


def _came_back(delivery: Delivery) -> str:
    """What the last attempt met, in words."""
    if not delivery.attempts:
        return "nothing was sent yet"
    last: Attempt = delivery.attempts[-1]
    if last.error is not None:
        return last.error.message
    if last.seconds is None:
        return "waiting for an answer"
    return f"{last.status} in {last.seconds:.2f} s"


def _table(*columns: str) -> Table:
    made = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns[:-1]:
        made.add_column(column, no_wrap=column not in {"EVENTS", "URL"}, overflow="fold")
    made.add_column(columns[-1], overflow="fold")
    return made


def _print(made: Table) -> None:
    Console(width=None if sys.stdout.isatty() else PIPE_WIDTH).print(made)


def _cell(text: str) -> Text:
    return Text(to_printable(text))


def _say(found: msgspec.Struct, sentence: str, as_json: bool) -> None:
    lines = "\n".join(to_printable(line) for line in sentence.splitlines())
    typer.echo(msgspec.json.encode(found).decode() if as_json else lines)
