"""The commands on deliveries of webhooks."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from framehook import Attempt, Delivery
from framehook.names import DeliveryStateName
from framehook.settings import DEFAULT_URL
from framehook.webhook_models import DeliveriesPage, RecoveryResult
from service.cli.console import escape_cell, print_table, to_printable
from service.cli.errors import FAILED_STATUS, print_errors
from service.cli.options import AsJson, Limit, Server, Token, open_client
from service.cli.webhooks.options import EndpointId
from service.cli.webhooks.output import create_table, format_time, print_result

_COLORS = {"delivered": "green", "failed": "red", "superseded": "yellow", "pending": "cyan"}


def send_test(
    endpoint_id: EndpointId, server: Server = DEFAULT_URL, token: Token = None, as_json: AsJson = False
) -> None:
    """Send a test event and show the response.

    The exit status is 0 if the endpoint accepted the event, else 1.
    """
    with print_errors(), open_client(server, token) as client:
        delivery = client.webhooks.send_test(endpoint_id)
        print_result(
            delivery, f"The test event is {delivery.state}: {_describe_last_attempt(delivery)}", as_json
        )
        if delivery.state != "delivered":
            raise typer.Exit(FAILED_STATUS)


def deliveries(
    endpoint_id: EndpointId,
    *,
    state: Annotated[
        DeliveryStateName | None,
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
            print_result(DeliveriesPage(deliveries), "", as_json)
        elif deliveries:
            print_table(_deliveries_table(deliveries))
        else:
            typer.echo("There are no deliveries.")


def redeliver(
    endpoint_id: EndpointId,
    delivery_id: Annotated[
        str,
        typer.Argument(
            metavar="DELIVERY", help="Id of the delivery, as `framehook webhooks deliveries` shows it."
        ),
    ],
    *,
    server: Server = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Send a delivery again.

    It has the same webhook-id as before, also if the endpoint has accepted it already.
    """
    with print_errors(), open_client(server, token) as client:
        delivery = client.webhooks.redeliver(endpoint_id, delivery_id)
        print_result(delivery, f"Delivery {delivery.delivery_id} is {delivery.state} again.", as_json)


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
        print_result(RecoveryResult(recovered), f"Queued deliveries: {recovered}.", as_json)


def _deliveries_table(deliveries: Sequence[Delivery]) -> Table:
    table = create_table("DELIVERY", "CREATED", "EVENT", "STATE", "ATTEMPTS", "RESULT")
    for delivery in deliveries:
        state = Text(to_printable(delivery.state), _COLORS.get(delivery.state, ""))
        columns = map(escape_cell, (delivery.delivery_id, format_time(delivery.created_at), delivery.type))
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
