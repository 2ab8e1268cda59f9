"""`POST /api/webhooks/verify`: explain why a received message does not verify."""

import asyncio
import binascii
import re
from collections.abc import Sequence
from typing import Annotated, Self, TypedDict

import pydantic
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from callbacks.signing import ID_HEADER, decode_secret
from service.api.openapi.operations import Body, Tag, declare_operation
from service.api.request_ids import Moment
from service.api.requests import StrictModel, json_response, read_json, require_one_of
from service.api.state import State
from service.api.webhooks.bodies import Cursor
from service.api.webhooks.endpoints import WebhookNotFound
from service.keys.scopes import Scope
from service.webhooks import delivery_queries, ed25519, endpoints
from service.webhooks.messages.rendering import render_body
from service.webhooks.models import Endpoint
from service.webhooks.signing import active_public_keys
from service.webhooks.verifier import Diagnosis, Keys, Mistake, SentMessage, diagnose

MAX_COMPARED = 20
MAX_BODY_CHARACTERS = 1_000_000
_ID = re.compile(r"[!-~]{1,64}")

Headers = Annotated[
    dict[str, Annotated[str, pydantic.Field(max_length=4_096)]], pydantic.Field(max_length=100)
]
Text = Annotated[str, pydantic.Field(max_length=MAX_BODY_CHARACTERS)]


class ReceivedMessage(StrictModel):
    """The received message: its headers, and its body as text or as base64.

    `id` is the webhook that received it; without it, the webhook-id decides. `expected` is the signature that the
    receiver computed. `received_at` is the time on the receiver's clock; without it, now.
    """

    model_config = require_one_of("body", "body_base64")

    id: Cursor | None = None
    headers: Headers
    body: Text | None = None
    body_base64: Text | None = None
    expected: Annotated[str, pydantic.Field(max_length=1_024)] | None = None
    received_at: Moment | None = None

    @pydantic.model_validator(mode="after")
    def _has_one_body(self) -> Self:
        if (self.body is None) == (self.body_base64 is None):
            raise ValueError("give either body or body_base64")
        return self

    @pydantic.field_validator("body_base64", mode="after")
    @classmethod
    def _is_base64(cls, value: str | None) -> str | None:
        try:
            binascii.a2b_base64(value or "", strict_mode=True)
        except ValueError:
            raise ValueError("must be base64") from None
        return value

    @property
    def raw(self) -> bytes:
        if self.body_base64 is not None:
            return binascii.a2b_base64(self.body_base64)
        return (self.body or "").encode()

    @property
    def message_id(self) -> str:
        values = {name.lower(): value for name, value in self.headers.items()}
        message_id = values.get(ID_HEADER, "")
        return message_id if _ID.fullmatch(message_id) else ""


class Verification(TypedDict):
    """Whether a message is valid, checked with the keys of the webhook `id`, and what is wrong with it.

    `problem` is the first of `problems`, `detail` says it in a sentence, `header` is the header that is wrong.
    `clock_off_seconds` is how far the message is older than the receiver's clock.
    """

    valid: bool
    problem: Mistake | None
    detail: str
    problems: Sequence[Mistake]
    header: str | None
    clock_off_seconds: int | None
    id: str


@declare_operation(
    "verify_message",
    Tag.WEBHOOKS,
    body=Body(ReceivedMessage),
    answers={200: Verification},
    problems=(WebhookNotFound,),
    scope=Scope.WEBHOOKS_READ,
)
async def verify(request: Request[State]) -> Response:
    """Tell whether the message is valid and, if not, why."""
    user_id = await request.state["authenticator"].webhook_user(request)
    message, _ = await read_json(request, ReceivedMessage)
    async with request.state["database"].reading() as session:
        endpoint = await _find_endpoint(session, user_id, message)
        if endpoint is None:
            raise WebhookNotFound(
                "The webhook-id of the message is unknown. Give the `id` of the webhook that received it."
            )
        own = await endpoints.list_by_user(session, user_id)
        sent = await _load_sent(session, endpoint, message.message_id)
    received_at = message.received_at.timestamp() if message.received_at else request.state["clock"].wall()
    diagnosis = await asyncio.to_thread(  # it computes thousands of signatures
        diagnose,
        message.headers,
        message.raw,
        _build_keys(endpoint, [other for other in own if other != endpoint], received_at),
        now=received_at,
        expected=message.expected,
        sent=sent,
    )
    return json_response(_diagnosis_to_dict(diagnosis, endpoint))


async def _find_endpoint(session: AsyncSession, user_id: str, message: ReceivedMessage) -> Endpoint | None:
    if message.id is not None:
        return await endpoints.get(session, user_id, message.id)
    endpoint_id = await delivery_queries.find_endpoint_id(session, user_id, message.message_id)
    if endpoint_id is not None:
        return await endpoints.get(session, user_id, endpoint_id)
    own = await endpoints.list_by_user(session, user_id)
    return own[0] if len(own) == 1 else None


async def _load_sent(session: AsyncSession, endpoint: Endpoint, message_id: str) -> list[SentMessage]:
    """Return the delivery with this id, or else the latest ones."""
    delivery = await delivery_queries.get(session, endpoint.endpoint_id, message_id)
    if delivery is not None:
        deliveries = [delivery]
    else:
        deliveries = await delivery_queries.list_page(
            session, endpoint.endpoint_id, state=None, before=None, limit=MAX_COMPARED
        )
    return [SentMessage(delivery.delivery_id, render_body(endpoint, delivery)) for delivery in deliveries]


def _build_keys(endpoint: Endpoint, others: list[Endpoint], now: float) -> Keys:
    public_keys = active_public_keys(endpoint, now=now)
    return Keys(
        current=decode_secret(endpoint.secret),
        previous=(decode_secret(endpoint.previous_secret),) if endpoint.previous_secret else (),
        public=ed25519.decode_public(public_keys[0]) if public_keys else None,
        others=tuple(decode_secret(other.secret) for other in others[:MAX_COMPARED]),
    )


def _diagnosis_to_dict(diagnosis: Diagnosis, endpoint: Endpoint) -> Verification:
    return {
        "valid": diagnosis.valid,
        "problem": diagnosis.problem,
        "detail": diagnosis.detail,
        "problems": diagnosis.problems,
        "header": diagnosis.header,
        "clock_off_seconds": diagnosis.clock_off_seconds,
        "id": endpoint.endpoint_id,
    }
