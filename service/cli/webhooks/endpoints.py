"""The commands on endpoints of webhooks."""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from framehook import Endpoint, FramehookError
from framehook.settings import DEFAULT_URL
from framehook.webhook_models import Endpoints, PublicKeys
from service.cli.console import escape_cell, print_table
from service.cli.errors import print_errors
from service.cli.exports.filters import FilterOptions
from service.cli.option_groups import expand_groups
from service.cli.options import AsJson, Server, Token, open_client
from service.cli.records import print_record, print_removal
from service.cli.webhooks.options import (
    EndpointId,
    Events,
    Format,
    Headers,
    NewEvents,
    RateLimit,
    parse_headers,
    select_given,
    to_events,
    to_filter,
)
from service.cli.webhooks.output import create_table, format_time, print_result

Url = Annotated[str, typer.Argument(metavar="URL", help="URL that receives the events.")]
Description = Annotated[
    str | None, typer.Option("--description", metavar="TEXT", help="Description, for your own use.")
]

NewUrl = Annotated[str | None, typer.Option("--url", metavar="URL", help="URL that receives the events.")]
NoFilter = Annotated[bool, typer.Option("--no-filter", help="Send the events of all exports again.")]
RemovedHeaders = Annotated[
    list[str] | None,
    typer.Option("--remove-header", metavar="NAME", help="Header to send no longer; repeat for several."),
]


@expand_groups
def add(
    url: Url,
    *,
    event: Events = None,
    description: Description = None,
    ed25519: Annotated[
        bool, typer.Option("--ed25519", help="Also sign with an Ed25519 key pair, and print the public key.")
    ] = False,
    format_: Format = None,
    header: Headers = None,
    rate_limit: RateLimit = None,
    conditions: FilterOptions,
    server: Server = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Add an endpoint and print its secret.

    The secret is shown only once; deliveries are signed with it. The endpoint gets the events of all exports, or of
    those for which the conditions hold.
    """
    with print_errors(), open_client(server, token) as client:
        endpoint = client.webhooks.create(
            url,
            events=to_events(event),
            filter=to_filter(conditions),
            description=description or "",
            ed25519=ed25519,
            format=format_ or "standard",
            headers=parse_headers(header),
            rate_limit=rate_limit or None,
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


def show(
    endpoint_id: EndpointId,
    *,
    statistics: Annotated[
        bool, typer.Option("--statistics", help="Show how its deliveries went, and what waits.")
    ] = False,
    server: Server = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Show all that is known of an endpoint, but its secret.

    Of its headers the names are shown. --statistics shows success rate and latencies of its latest attempts instead,
    and what waits for it.
    """
    with print_errors(), open_client(server, token) as client:
        webhooks = client.webhooks
        shown = webhooks.get_statistics(endpoint_id) if statistics else webhooks.get(endpoint_id)
        print_record(shown, as_json=as_json)


@expand_groups
def update(
    endpoint_id: EndpointId,
    *,
    url: NewUrl = None,
    event: NewEvents = None,
    description: Description = None,
    no_filter: NoFilter = False,
    format_: Format = None,
    header: Headers = None,
    remove_header: RemovedHeaders = None,
    rate_limit: RateLimit = None,
    conditions: FilterOptions,
    server: Server = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Change an endpoint.

    The conditions for exports replace all that were set before. Headers that are not given stay.
    """
    with print_errors(), open_client(server, token) as client:
        new_filter = to_filter(conditions)
        if no_filter and new_filter:
            raise FramehookError("--no-filter removes all conditions; give it without others")
        changes = select_given(
            url=url,
            events=to_events(event),
            description=description,
            filter={} if no_filter else new_filter,
            format=format_,
            headers={**parse_headers(header), **dict.fromkeys(remove_header or ())} or None,
            rate_limit=rate_limit,
        )
        endpoint = client.webhooks.update(endpoint_id, **changes)
        print_result(endpoint, f"Endpoint {endpoint.id} is changed.", as_json)


def enable(
    endpoint_id: EndpointId, server: Server = DEFAULT_URL, token: Token = None, as_json: AsJson = False
) -> None:
    """Enable a disabled endpoint.

    Events that it missed are not sent; `framehook webhooks recover` sends them.
    """
    with print_errors(), open_client(server, token) as client:
        endpoint = client.webhooks.update(endpoint_id, enabled=True)
        print_result(endpoint, f"Endpoint {endpoint.id} is enabled.", as_json)


def disable(
    endpoint_id: EndpointId, server: Server = DEFAULT_URL, token: Token = None, as_json: AsJson = False
) -> None:
    """Disable an endpoint: it gets no events until it is enabled."""
    with print_errors(), open_client(server, token) as client:
        endpoint = client.webhooks.update(endpoint_id, enabled=False)
        print_result(endpoint, f"Endpoint {endpoint.id} is disabled.", as_json)


def public_key(
    endpoint_id: EndpointId, server: Server = DEFAULT_URL, token: Token = None, as_json: AsJson = False
) -> None:
    """Print the public keys of an endpoint, newest first.

    It has one if it was added with --ed25519, and a second one for a day after a rotation.
    """
    with print_errors(), open_client(server, token) as client:
        keys = client.webhooks.get_public_keys(endpoint_id)
        print_result(PublicKeys(keys), "\n".join(keys), as_json)


def portal_link(
    expires_in: Annotated[
        int, typer.Option("--expires-in", metavar="SECONDS", help="For how long the link is good.")
    ] = 3_600,
    server: Server = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Print a link to a page on which your webhooks are managed.

    Who has it needs no token: treat it like a password.
    """
    with print_errors(), open_client(server, token) as client:
        link = client.webhooks.create_portal_link(expires_in)
        print_result(link, link.url, as_json)


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


def remove(
    endpoint_id: EndpointId, server: Server = DEFAULT_URL, token: Token = None, as_json: AsJson = False
) -> None:
    """Remove an endpoint and all of its deliveries."""
    with print_errors(), open_client(server, token) as client:
        client.webhooks.delete(endpoint_id)
        print_removal("removed", endpoint_id, f"Endpoint {endpoint_id} was removed.", as_json=as_json)


def _endpoints_table(endpoints: Sequence[Endpoint]) -> Table:
    table = create_table("ID", "STATE", "EVENTS", "URL", "DESCRIPTION")
    for endpoint in endpoints:
        events = ", ".join(event.removeprefix("export.") for event in endpoint.events)
        cells = map(escape_cell, (events, endpoint.url or "(listener)", endpoint.description))
        table.add_row(escape_cell(endpoint.id), _endpoint_state(endpoint), *cells)
    return table


def _endpoint_state(endpoint: Endpoint) -> Text:
    if not endpoint.enabled:
        return Text(f"disabled: {endpoint.disabled_reason}", "red")
    return Text("failing", "yellow") if endpoint.failing_since else Text("enabled", "green")
