"""`framehook webhooks trigger`: send a sample of any event, also with the faults of a bad day."""

import asyncio
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
import typer

from framehook import Client
from framehook.names import EventName, FaultName
from framehook.settings import DEFAULT_URL
from framehook.webhook_models import ListenerDelivery
from service.cli.console import to_printable
from service.cli.errors import FAILED_STATUS, USAGE_STATUS, exit_with, print_errors
from service.cli.options import AsJson, Server, Token, open_client
from service.cli.webhooks.checklist import Check, judge, outcome_of
from service.cli.webhooks.forwarding import Outcome, create_local_egress, forward
from service.cli.webhooks.listen import TIMEOUT_SECONDS, Secret, check_forward_url
from service.cli.webhooks.options import EVENTS

CURL_URL = "http://localhost:3000/hook"
CURL_SLOW_RATE = "--limit-rate 400"  # bytes a second


def parse_event(name: str) -> EventName:
    """Return the event with this name; raises BadParameter."""
    if name not in set(EventName):
        raise typer.BadParameter(f"{name!r} is no event; there are {EVENTS}.", param_hint="EVENT")
    return EventName(name)


EventArgument = Annotated[str, typer.Argument(metavar="EVENT", help=f"Event to send: {EVENTS}.")]
EndpointOption = Annotated[
    str | None,
    typer.Option(
        "--endpoint", metavar="ID", help="Endpoint that the service sends it to.", show_default=False
    ),
]
ToUrl = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="URL",
        help="URL that this machine sends it to, without a service.",
        show_default=False,
    ),
]
Faults = Annotated[
    list[FaultName] | None,
    typer.Option(
        "--fault",
        metavar="FAULT",
        help=f"Fault to rehearse: {', '.join(FaultName)}; repeat for several.",
        show_default=False,
    ),
]
CheckAll = Annotated[bool, typer.Option("--check", help="Send the event, then rehearse every fault.")]
ExportType = Annotated[str, typer.Option("--type", metavar="TYPE", help="Type of the export in the sample.")]
Curl = Annotated[
    bool, typer.Option("--curl", help="Print the signed request as a curl command; send nothing.")
]
Send = Callable[[FaultName | None], Outcome]


def trigger(
    event_name: EventArgument,
    *,
    endpoint: EndpointOption = None,
    to: ToUrl = None,
    secret: Secret = None,
    fault: Faults = None,
    check: CheckAll = False,
    type_: ExportType = "framing",
    curl: Curl = False,
    server: Server = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Send a sample event, also with faults.

    The sample has all that a real event has; its export does not exist. Then a line says for each message whether the
    receiver did right. The exit status is 1 if one was not answered as it should.
    """
    event = parse_event(event_name)
    if (endpoint is None) == (to is None) and not curl:
        exit_with(USAGE_STATUS, "Give either --endpoint ID, or --to URL with the --secret of the receiver.")
    if endpoint is None and secret is None:
        exit_with(USAGE_STATUS, "Give the receiver's secret (whsec_…) with --secret, to sign with it.")
    faults: list[FaultName | None] = list_all_faults(event) if check else [*(fault or ())] or [None]
    sample = Sample(event, type_, secret or "", server)
    with print_errors():
        if curl:
            for each in faults:
                for delivery in sample.build_messages(each):
                    typer.echo(format_curl(to or CURL_URL, delivery))
        elif to is not None:
            run_checks(event, faults, create_sender(to, sample), as_json=as_json)
        else:
            with open_client(server, token) as client:
                run_checks(
                    event, faults, create_service_sender(client, str(endpoint), sample), as_json=as_json
                )


def list_all_faults(event: EventName) -> list[FaultName | None]:
    """Return all that can be rehearsed with an event, first without a fault."""
    is_first = event in {EventName.STARTED, EventName.BATCH_COMPLETED}
    return [None, *(fault for fault in FaultName if not (is_first and fault is FaultName.REORDER))]


def run_checks(event: EventName, faults: Sequence[FaultName | None], send: Send, *, as_json: bool) -> None:
    """Send one message after the other and print what each shows; exit with 1 if the receiver was wrong."""
    checks: list[Check] = []
    for fault in faults:
        checks.append(judge(event, fault, send(fault)))
        typer.echo(checks[-1].to_json() if as_json else to_printable(checks[-1].line))
    if any(check.passed is False for check in checks):
        raise typer.Exit(FAILED_STATUS)


def create_sender(url: str, sample: "Sample") -> Send:
    """Return what sends a sample to a URL that this machine reaches."""
    egress = create_local_egress(TIMEOUT_SECONDS)
    check_forward_url(egress, url)

    async def send_all(fault: FaultName | None) -> Outcome:
        outcomes = [await forward(egress, url, delivery) for delivery in sample.build_messages(fault)]
        return outcomes[-1]

    return lambda fault: asyncio.run(send_all(fault))


def create_service_sender(client: Client, endpoint_id: str, sample: "Sample") -> Send:
    """Return what lets the service send a sample to an endpoint."""

    def send(fault: FaultName | None) -> Outcome:
        delivery = client.webhooks.send_test(
            endpoint_id, type=sample.event, fault=fault, export_type=sample.export_type
        )
        return outcome_of(delivery)

    return send


@dataclass(frozen=True)
class Sample:
    """A sample event, signed with the secret of its receiver, as of the service at `origin`."""

    event: EventName
    export_type: str
    secret: str
    origin: str

    def build_messages(self, fault: FaultName | None) -> list[ListenerDelivery]:
        """Return the messages as the service would sign them; exits if there is none or the secret is bad."""
        from callbacks.signing import decode_secret
        from service.jobs.serializers import JobSerializer
        from service.webhooks import endpoints
        from service.webhooks.models import (
            Delivery,
            Endpoint,
            WebhookEvent,
            delivery_from_row,
            endpoint_from_row,
        )
        from service.webhooks.rehearsal.events import NothingEarlier, Rehearsal
        from service.webhooks.rehearsal.faults import Fault, build_test_message

        now = time.time()
        try:
            decode_secret(self.secret)
            rehearsal = Rehearsal(WebhookEvent(self.event), Fault(fault) if fault else None, self.export_type)
            rows = rehearsal.build_rows("", "", JobSerializer(self.origin.rstrip("/")), now=now)
        except NothingEarlier:
            exit_with(
                USAGE_STATUS, f"No event comes before {self.event.value}, so there is no order to rehearse."
            )
        except ValueError as error:
            exit_with(USAGE_STATUS, f"--secret: {error}")
        columns = endpoints.new_values("", "", secret=self.secret, now=now)
        endpoint = endpoint_from_row(_list_empty_columns(Endpoint) | columns)
        messages = []
        for row in rows:
            delivery = delivery_from_row(_list_empty_columns(Delivery) | row)
            message = build_test_message(endpoint, delivery, now=now)
            messages.append(
                ListenerDelivery(
                    delivery.delivery_id, 1, {**message.headers}, message.body.decode(), delivery.fault
                )
            )
        return messages


def _list_empty_columns(table: type[msgspec.Struct]) -> dict[str, object]:
    """Return the columns without a default, with the value that they have in a new row."""
    return {field.name: None for field in msgspec.structs.fields(table) if field.required}


def format_curl(url: str, delivery: ListenerDelivery) -> str:
    """Return the command that sends a message, in each of the lines that its fault needs."""
    headers = " ".join(f"-H {shlex.quote(f'{name}: {value}')}" for name, value in delivery.headers.items())
    slow = f" {CURL_SLOW_RATE}" if delivery.fault == FaultName.SLOW else ""
    line = f"curl -sS -i{slow} {shlex.quote(url)} {headers} --data-binary {shlex.quote(delivery.body)}"
    return "\n".join([line] * (2 if delivery.fault == FaultName.DUPLICATE else 1))
