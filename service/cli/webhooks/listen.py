"""`framehook webhooks listen`: forward webhooks to a receiver on this machine, without a tunnel."""

import asyncio
import signal
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any

import typer

from framehook import AsyncClient
from framehook.names import EventName
from framehook.settings import DEFAULT_URL, URL_VARIABLE
from infra.egress import BlockedURL, EgressClient
from service.cli.errors import USAGE_STATUS, exit_with, print_error, print_errors
from service.cli.options import RETRIES, AsJson, Token
from service.cli.webhooks.forwarding import create_local_egress
from service.cli.webhooks.listener_session import (
    EndpointChoice,
    ListenerOutput,
    ListenerSession,
    hold_endpoint,
)

SECRET_VARIABLE = "FRAMEHOOK_WEBHOOK_SECRET"  # noqa: S105 - the name of a variable
TIMEOUT_SECONDS = 15.0


ForwardUrl = Annotated[
    str | None,
    typer.Option(
        "--forward",
        metavar="URL",
        help="URL of the receiver; without it events are only shown.",
        show_default=False,
    ),
]
Events = Annotated[
    list[str] | None,
    typer.Option(
        "--event",
        "--events",
        metavar="EVENT",
        help="Event to receive, such as export.completed; repeat for several, or separate them by commas.  "
        "[default: all but export.progress]",
        show_default=False,
    ),
]
Project = Annotated[
    str | None, typer.Option(metavar="ID", help="Only events of exports of this project.", show_default=False)
]
Secret = Annotated[
    str | None,
    typer.Option(
        metavar="SECRET",
        envvar=SECRET_VARIABLE,
        help="Secret to sign with, so that it stays the same over restarts; a new one by default.",
    ),
]
KeptEndpoint = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        metavar="ID",
        help="Listen with an endpoint that was kept, and keep it.",
        show_default=False,
    ),
]
Keep = Annotated[
    bool, typer.Option("--keep", help="Keep the endpoint at the end: events wait for the next listener.")
]
ServerOrUrl = Annotated[
    str, typer.Option("--server", "--url", metavar="URL", envvar=URL_VARIABLE, help="URL of the service.")
]


def listen(
    forward_url: ForwardUrl = None,
    *,
    event: Events = None,
    project: Project = None,
    secret: Secret = None,
    keep: Keep = False,
    endpoint: KeptEndpoint = None,
    print_bodies: Annotated[bool, typer.Option("--print", help="Show the body of each event.")] = False,
    server: ServerOrUrl = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Forward webhooks to a receiver on this machine.

    Events come over one outgoing connection to the service, with the headers and bytes that a URL would get. What the
    receiver answers is an attempt in the log, so retries and order are as for any endpoint.
    """
    choice = EndpointChoice(endpoint, keep or endpoint is not None, parse_events(event), project, secret)
    output = ListenerOutput(print_bodies=print_bodies, as_json=as_json)
    with print_errors(), suppress(asyncio.CancelledError, KeyboardInterrupt):  # ended by SIGTERM or Ctrl-C
        asyncio.run(_run_until_terminated(server, token, forward_url, choice, output))


async def _run_until_terminated(*arguments: Any) -> None:
    """Run the listener; SIGTERM ends it as Ctrl-C does."""
    task = asyncio.current_task()
    assert task is not None
    with suppress(NotImplementedError):  # Windows
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await run_listener(*arguments)


async def run_listener(
    server: str, token: str | None, forward_url: str | None, choice: EndpointChoice, output: ListenerOutput
) -> None:
    """Forward the deliveries of an endpoint until cancelled."""
    egress = create_local_egress(TIMEOUT_SECONDS)
    if forward_url is not None:
        check_forward_url(egress, forward_url)
    async with (
        AsyncClient(server, token or "", retries=RETRIES) as client,
        hold_endpoint(client, choice, forward_url, output) as endpoint,
    ):
        session = ListenerSession(client, endpoint, egress, forward_url, output)
        try:
            async with asyncio.TaskGroup() as tasks:
                async for delivery in client.webhooks.listen(
                    endpoint.id,
                    on_ready=lambda _ready: output.say("Ready; Ctrl-C ends."),
                    on_disconnect=lambda reason: print_error(f"{reason}; connecting again"),
                ):
                    tasks.create_task(session.handle(delivery))
        except ExceptionGroup as group:
            raise group.exceptions[0] from None


def check_forward_url(egress: EgressClient, url: str) -> None:
    """Exit with a sentence if the URL can't be sent to."""
    try:
        egress.check_url(url)
    except BlockedURL as error:
        exit_with(USAGE_STATUS, error.reason)


def parse_events(options: Sequence[str] | None) -> list[str] | None:
    """Return the events of the options, each of which may name several; None without any."""
    if not options:
        return None
    names = [name.strip() for option in options for name in option.split(",")]
    for name in names:
        if name not in set(EventName):
            known = ", ".join(EventName)
            raise typer.BadParameter(f"{name!r} is no event; there are {known}.", param_hint="--event")
    return names
