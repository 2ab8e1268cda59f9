"""The commands on webhooks of a running service: `framehook webhooks …`."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Annotated

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from framehook import Attempt, Delivery, Endpoint
from framehook.settings import DEFAULT_URL
from framehook.webhook_models import DeliveriesPage, Endpoints, RecoveryResult
from service.cli.console import escape_cell, print_table, to_printable
from service.cli.errors import FAILED_STATUS, print_errors
from service.cli.options import AsJson, Limit, Server, Token, command_group, examples, open_client
from service.webhooks.models import DeliveryState, WebhookEvent

_COLORS = {"delivered": "green", "failed": "red", "superseded": "yellow", "pending": "cyan"}

webhooks = command_group("Manage webhooks: endpoints, secrets and deliveries.")

EndpointId = Annotated[
    str, typer.Argument(metavar="ID", help="Id of the endpoint, as `framehook webhooks list` shows it.")
]


@webhooks.command(
    epilog=examples(
        "framehook webhooks add https://example.org/hook",
        "framehook webhooks add https://example.org/hook --event export.completed",
    )
)
def add(
    url: Annotated[str, typer.Argument(metavar="URL", help="URL that receives the events.")],
    *,
    event: Annotated[
        list[WebhookEvent] | None,
        typer.Option(
            metavar="EVENT",
            help="Event to send: export.started, export.progress, export.completed, export.failed, "
            "export.cancelled, export.expired or export.erased; repeat for several.  "
            "[default: all but export.progress]",
            show_default=False,
        ),
    ] = None,
    description: Annotated[
        str, typer.Option(metavar="TEXT", help="Description, for your own use.", show_default=False)
    ] = "",
    ed25519: Annotated[
        bool, typer.Option("--ed25519", help="Also sign with an Ed25519 key pair, and print the public key.")
    ] = False,
    server: Server = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Add an endpoint and print its secret.

    The secret is shown only once; deliveries are signed with it.
    """
    with print_errors(), open_client(server, token) as client:
        events = [event_type.value for event_type in event or ()]
        endpoint = client.webhooks.create(
            url, events=events or None, description=description, ed25519=ed25519
        )
        key = f"\nPublic key: {endpoint.public_key}" if endpoint.public_key else ""
        sentence = f"Endpoint {endpoint.id} was added.\nSecret (shown only once): {endpoint.secret}{key}"
        _print_result(endpoint, sentence, as_json)


@webhooks.command("list", epilog=examples("framehook webhooks list"))
def list_(server: Server = DEFAULT_URL, token: Token = None, as_json: AsJson = False) -> None:
    """List endpoints, oldest first."""
    with print_errors(), open_client(server, token) as client:
        endpoints = client.webhooks.list()
        if as_json:
            _print_result(Endpoints(endpoints), "", as_json)
        elif endpoints:
            print_table(_endpoints_table(endpoints))
        else:
            typer.echo("There are no webhooks.")


@webhooks.command("test", epilog=examples("framehook webhooks test ID"))
def send_test(
    endpoint_id: EndpointId, server: Server = DEFAULT_URL, token: Token = None, as_json: AsJson = False
) -> None:
    """Send a test event and show the response.

    The exit status is 0 if the endpoint accepted the event, else 1.
    """
    with print_errors(), open_client(server, token) as client:
        delivery = client.webhooks.send_test(endpoint_id)
        _print_result(
            delivery, f"The test event is {delivery.state}: {_describe_last_attempt(delivery)}", as_json
        )
        if delivery.state != DeliveryState.DELIVERED:
            raise typer.Exit(FAILED_STATUS)


@webhooks.command(epilog=examples("framehook webhooks deliveries ID --state failed"))
def deliveries(
    endpoint_id: EndpointId,
    *,
    state: Annotated[
        DeliveryState | None,
        typer.Option(
            metavar="STATE",
            help="Only deliveries in this state: pending, delivered, failed or superseded.",
        ),
    ] = None,
    limit: Limit = 20,
    server: Server = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """List deliveries to an endpoint, newest first."""
    with print_errors(), open_client(server, token) as client:
        listed = client.webhooks.list_deliveries(endpoint_id, state=state.value if state else None)
        deliveries = tuple(islice(listed, limit))
        if as_json:
            _print_result(DeliveriesPage(deliveries), "", as_json)
        elif deliveries:
            print_table(_deliveries_table(deliveries))
        else:
            typer.echo("There are no deliveries.")


@webhooks.command(epilog=examples("framehook webhooks recover ID --hours 6"))
def recover(
    endpoint_id: EndpointId,
    *,
    hours: Annotated[
        float,
        typer.Option(metavar="HOURS", min=0.01, max=24 * 366, help="How many hours to go back."),
    ] = 24.0,
    server: Server = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Send the final events that an endpoint has missed.

    Sends the event of each export that ended in the last hours, unless the endpoint has accepted it already.
    """
    with print_errors(), open_client(server, token) as client:
        recovered = client.webhooks.recover(endpoint_id, datetime.now(UTC) - timedelta(hours=hours))
        _print_result(RecoveryResult(recovered), f"Queued deliveries: {recovered}.", as_json)


@webhooks.command(epilog=examples("framehook webhooks enable ID", "framehook webhooks recover ID"))
def enable(
    endpoint_id: EndpointId, server: Server = DEFAULT_URL, token: Token = None, as_json: AsJson = False
) -> None:
    """Enable a disabled endpoint.

    Events that it missed are not sent; `framehook webhooks recover` sends them.
    """
    with print_errors(), open_client(server, token) as client:
        endpoint = client.webhooks.update(endpoint_id, enabled=True)
        _print_result(endpoint, f"Endpoint {endpoint.id} is enabled.", as_json)


@webhooks.command(epilog=examples("framehook webhooks rotate ID"))
def rotate(
    endpoint_id: EndpointId, server: Server = DEFAULT_URL, token: Token = None, as_json: AsJson = False
) -> None:
    """Replace the secret of an endpoint and print the new one.

    The secret is shown only once. For a day, deliveries are signed with both secrets.
    """
    with print_errors(), open_client(server, token) as client:
        endpoint = client.webhooks.rotate_secret(endpoint_id)
        until = f"The previous secret stays valid until {_format_time(endpoint.previous_secret_until)}."
        _print_result(endpoint, f"New secret (shown only once): {endpoint.secret}\n{until}", as_json)


@webhooks.command(epilog=examples("framehook webhooks remove ID"))
def remove(endpoint_id: EndpointId, server: Server = DEFAULT_URL, token: Token = None) -> None:
    """Remove an endpoint and all of its deliveries."""
    with print_errors(), open_client(server, token) as client:
        client.webhooks.delete(endpoint_id)
        typer.echo(to_printable(f"Endpoint {endpoint_id} was removed."))


def _endpoints_table(endpoints: Sequence[Endpoint]) -> Table:
    table = _create_table("ID", "STATE", "EVENTS", "URL", "DESCRIPTION")
    for endpoint in endpoints:
        events = ", ".join(event.removeprefix("export.") for event in endpoint.events)
        cells = map(escape_cell, (events, endpoint.url, endpoint.description))
        table.add_row(escape_cell(endpoint.id), _endpoint_state(endpoint), *cells)
    return table


def _endpoint_state(endpoint: Endpoint) -> Text:
    if not endpoint.enabled:
        return Text(f"disabled: {endpoint.disabled_reason}", "red")
    return Text("failing", "yellow") if endpoint.failing_since else Text("enabled", "green")


def _deliveries_table(deliveries: Sequence[Delivery]) -> Table:
    table = _create_table("DELIVERY", "CREATED", "EVENT", "STATE", "ATTEMPTS", "RESULT")
    for delivery in deliveries:
        state = Text(to_printable(delivery.state), _COLORS.get(delivery.state, ""))
        columns = map(escape_cell, (delivery.delivery_id, _format_time(delivery.created_at), delivery.type))
        tries = escape_cell(str(len(delivery.attempts)))
        table.add_row(*columns, state, tries, escape_cell(_describe_last_attempt(delivery)))
    return table


def _describe_last_attempt(delivery: Delivery) -> str:
    if not delivery.attempts:
        return "not sent yet"
    attempt: Attempt = delivery.attempts[-1]
    if attempt.error is not None:
        return attempt.error.message
    if attempt.seconds is None:
        return "waiting for a response"
    return f"{attempt.status} in {attempt.seconds:.2f} s"


def _format_time(time: datetime | None) -> str:
    return "" if time is None else f"{time:%Y-%m-%dT%H:%M:%SZ}"


def _create_table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns[:-1]:
        table.add_column(column, no_wrap=column not in {"EVENTS", "URL"}, overflow="fold")
    table.add_column(columns[-1], overflow="fold")
    return table


def _print_result(result: msgspec.Struct, sentence: str, as_json: bool) -> None:
    lines = "\n".join(to_printable(line) for line in sentence.splitlines())
    typer.echo(msgspec.json.encode(result).decode() if as_json else lines)
