"""One run of `framehook webhooks listen`: its endpoint, its deliveries, and what it prints."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

import msgspec
import typer

from framehook import AsyncClient, Endpoint, FramehookError
from framehook.webhook_models import ListenerDelivery
from infra.egress import EgressClient
from service.cli.console import to_printable
from service.cli.errors import describe_error
from service.cli.webhooks.forwarding import Outcome, forward


@dataclass(frozen=True)
class EndpointChoice:
    """Which endpoint to listen with: one that exists, or a new one with these properties."""

    endpoint_id: str | None
    is_kept: bool
    events: Sequence[str] | None
    project: str | None
    secret: str | None

    async def open(self, client: AsyncClient, description: str) -> Endpoint:
        """Return the endpoint."""
        if self.endpoint_id is not None:
            return await client.webhooks.get(self.endpoint_id)
        return await client.webhooks.create_listener(
            events=self.events,
            filter={"project_id": self.project} if self.project else None,
            description=description,
            secret=self.secret,
        )


@dataclass(frozen=True)
class ListenerOutput:
    """Prints what happens: lines for people, or JSON."""

    print_bodies: bool
    as_json: bool

    def say(self, text: str) -> None:
        """Print a line for people."""
        if not self.as_json:
            typer.echo(to_printable(text))

    def show(self, delivery: ListenerDelivery, outcome: Outcome, hint: str | None) -> None:
        """Print one delivery and what came back."""
        if self.as_json:
            entry = msgspec.to_builtins(delivery) | {"outcome": outcome.to_body(), "diagnosis": hint}
            typer.echo(msgspec.json.encode(entry).decode())
            return
        event = _read_event(delivery.body)
        again = f" (attempt {delivery.attempt})" if delivery.attempt > 1 else ""
        again += f" ({delivery.fault})" if delivery.fault else ""
        now = datetime.now().astimezone()
        self.say(f"{now:%H:%M:%S} {event} → {outcome.summary}{again}")
        if self.print_bodies:
            for line in _format_body(delivery.body).splitlines():
                self.say(f"  {line}")
        if hint:
            self.say(f"  {hint}")


def _read_event(body: str) -> str:
    """Return the type of an event and its export."""
    try:
        event = msgspec.json.decode(body)
    except msgspec.DecodeError:  # a test event that was truncated
        return "(no JSON)"
    return f"{event['type']:<17} {event.get('data', {}).get('job_id') or ''}"


def _format_body(body: str) -> str:
    try:
        return msgspec.json.format(body, indent=2)
    except msgspec.DecodeError:
        return body


@dataclass(frozen=True)
class ListenerSession:
    """One run of the command: the service, the endpoint, and the receiver if there is one."""

    client: AsyncClient
    endpoint: Endpoint
    egress: EgressClient
    forward_url: str | None
    output: ListenerOutput

    async def handle(self, delivery: ListenerDelivery) -> None:
        """Forward a delivery, report what came back and show it."""
        if self.forward_url is None:
            outcome = Outcome(0.0, 204)
        else:
            outcome = await forward(self.egress, self.forward_url, delivery)
        hint = None
        try:
            await self.client.webhooks.post_outcome(self.endpoint.id, delivery, outcome.to_body())
            if outcome.is_rejected:
                hint = await self._diagnose(delivery, outcome)
        except FramehookError as error:
            hint = f"The outcome was not reported, so the event will come again: {describe_error(error)}"
        self.output.show(delivery, outcome, hint)

    async def _diagnose(self, delivery: ListenerDelivery, outcome: Outcome) -> str:
        """Say why the receiver may have rejected the message."""
        verification = await self.client.webhooks.diagnose(
            delivery.headers,
            delivery.body.encode(),
            endpoint_id=self.endpoint.id,
            expected=outcome.computed_signature,
        )
        if not verification.valid or outcome.computed_signature:
            return verification.detail
        return (
            f"{verification.detail} If the receiver rejects the signature, it uses another secret or does not verify "
            "the raw body. Let it answer with the signature that it computed (v1,…) to see which."
        )


@asynccontextmanager
async def hold_endpoint(
    client: AsyncClient, choice: EndpointChoice, forward_url: str | None, output: ListenerOutput
) -> AsyncIterator[Endpoint]:
    """Create the endpoint or take the one that was named, and delete it at the end unless it is kept."""
    description = f"framehook webhooks listen → {forward_url}" if forward_url else "framehook webhooks listen"
    endpoint = await choice.open(client, description[:500])
    target = f"forwarding to {forward_url}" if forward_url else "showing events"
    output.say(f"Listening as {endpoint.id}, {target}.")
    if endpoint.secret:
        output.say(f"Secret: {endpoint.secret}")
    try:
        yield endpoint
    finally:
        if choice.is_kept:
            output.say(f"Kept the endpoint; go on with --endpoint {endpoint.id}.")
        else:
            with suppress(FramehookError):  # it is deleted later if the service can't be reached
                await client.webhooks.delete(endpoint.id)
                output.say("Removed the endpoint.")
