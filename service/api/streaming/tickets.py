"""`POST /api/stream-tickets`: tickets for clients that can't set headers."""

import time
from typing import Annotated, TypedDict

import pydantic
from starlette.requests import Request
from starlette.responses import Response

from gpu.config import WholeNumber
from service.api.auth import MAX_TICKET_SECONDS
from service.api.openapi.operations import Body, Tag, declare_operation
from service.api.requests import StrictModel, json_response, parse_model, read_body
from service.api.state import State
from service.jobs.serializers import format_timestamp
from service.keys.scopes import Scope


class TicketBody(StrictModel):
    """The body of `POST /api/stream-tickets`; `expires_in` is in seconds."""

    expires_in: Annotated[int, pydantic.Field(ge=1, le=MAX_TICKET_SECONDS), WholeNumber] = MAX_TICKET_SECONDS


class StreamTicket(TypedDict):
    """A ticket: the value of `?ticket=` of streams and sockets; `expires_in` is in seconds."""

    ticket: str
    expires_at: str
    expires_in: int


@declare_operation(
    "create_stream_ticket",
    Tag.STREAMS,
    body=Body(TicketBody, required=False),
    answers={201: StreamTicket},
    scope=Scope.EXPORTS_READ,
)
async def create_ticket(request: Request[State]) -> Response:
    """Create a ticket for clients that can't set headers.

    Usable many times, and never longer than the token.
    """
    access = await request.state["authenticator"].access(request)
    body = parse_model(TicketBody, await read_body(request) or b"{}")
    now = time.time()
    value, expires_at = request.state["authenticator"].create_ticket(access, seconds=body.expires_in, now=now)
    ticket = StreamTicket(
        ticket=value, expires_at=format_timestamp(expires_at), expires_in=expires_at - int(now)
    )
    return json_response(ticket, 201)
