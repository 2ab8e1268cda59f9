"""The commands on endpoints of webhooks."""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from framehook import Endpoint
from framehook.settings import DEFAULT_URL
from framehook.webhook_models import Endpoints
from service.cli.console import escape_cell, print_table, to_printable
from service.cli.errors import print_errors
from service.cli.options import AsJson, Server, Token, open_client
from service.cli.webhooks.output import EndpointId, create_table, format_time, print_result
from service.webhooks.models import WebhookEvent


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
        print_result(endpoint, sentence, as_json)


def list_(server: Server = DEFAULT_URL, token: Token = None, as_json: AsJson = False) -> None:
    """List endpoints, oldest first."""
    with print_errors(), open_client(server, token) as client:
        endpoints = client.webhooks.list()
        if as_json:
            print_result(Endpoints(endpoints), "", as_json)
        elif endpoints:
            print_table(_endpoints_table(endpoints))
        else:
            typer.echo("There are no webhooks.")


def enable(
    endpoint_id: EndpointId, server: Server = DEFAULT_URL, token: Token = None, as_json: AsJson = False
) -> None:
    """Enable a disabled endpoint.

    Events that it missed are not sent; `framehook webhooks recover` sends them.
    """
    with print_errors(), open_client(server, token) as client:
        endpoint = client.webhooks.update(endpoint_id, enabled=True)
        print_result(endpoint, f"Endpoint {endpoint.id} is enabled.", as_json)


def rotate(
    endpoint_id: EndpointId, server: Server = DEFAULT_URL, token: Token = None, as_json: AsJson = False
) -> None:
    """Replace the secret of an endpoint and print the new one.

    The secret is shown only once. For a day, deliveries are signed with both secrets.
    """
    with print_errors(), open_client(server, token) as client:
        endpoint = client.webhooks.rotate_secret(endpoint_id)
        until = f"The previous secret stays valid until {format_time(endpoint.previous_secret_until)}."
        print_result(endpoint, f"New secret (shown only once): {endpoint.secret}\n{until}", as_json)


def remove(endpoint_id: EndpointId, server: Server = DEFAULT_URL, token: Token = None) -> None:
    """Remove an endpoint and all of its deliveries."""
    with print_errors(), open_client(server, token) as client:
        client.webhooks.delete(endpoint_id)
        typer.echo(to_printable(f"Endpoint {endpoint_id} was removed."))


def _endpoints_table(endpoints: Sequence[Endpoint]) -> Table:
    table = create_table("ID", "STATE", "EVENTS", "URL", "DESCRIPTION")
    for endpoint in endpoints:
        events = ", ".join(event.removeprefix("export.") for event in endpoint.events)
        cells = map(escape_cell, (events, endpoint.url, endpoint.description))
        table.add_row(escape_cell(endpoint.id), _endpoint_state(endpoint), *cells)
    return table


def _endpoint_state(endpoint: Endpoint) -> Text:
    if not endpoint.enabled:
        return Text(f"disabled: {endpoint.disabled_reason}", "red")
    return Text("failing", "yellow") if endpoint.failing_since else Text("enabled", "green")
