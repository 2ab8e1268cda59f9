"""`POST /api/webhooks/verify`: a consumer shows what it received, and is told what is wrong with it."""

import asyncio
import binascii
import re
import time
from typing import Annotated, Any, Self

import pydantic
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from callbacks.signing import ID_HEADER, decode_secret
from service.api.requests import StrictModel, json_response, read_json
from service.api.state import State
from service.api.webhooks import Cursor, WebhookNotFound
from service.webhooks import delivery_queries, ed25519, endpoints
from service.webhooks.models import Endpoint
from service.webhooks.signing import active_public_keys
from service.webhooks.verifier import Diagnosis, Keys, SentMessage, diagnose

MAX_COMPARED = 20
MAX_BODY_CHARACTERS = 1_000_000
_ID = re.compile(r"[!-~]{1,64}")

Headers = Annotated[
    dict[str, Annotated[str, pydantic.Field(max_length=4_096)]], pydantic.Field(max_length=100)
]
Body = Annotated[str, pydantic.Field(max_length=MAX_BODY_CHARACTERS)]


class ReceivedMessage(StrictModel):
    """What came: the headers, and the body as text or, byte for byte, as base64.

    `id` names the endpoint, which is otherwise found by the webhook-id; `expected` is the signature that the receiver
    computed, if it differs; `received_at` is the receiver's clock, unless it is showing this at once.
    """

    id: Cursor | None = None
    headers: Headers
    body: Body | None = None
    body_base64: Body | None = None
    expected: Annotated[str, pydantic.Field(max_length=1_024)] | None = None
    received_at: pydantic.AwareDatetime | None = None

    @pydantic.model_validator(mode="after")
    def _one_body(self) -> Self:
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
        found = {name.lower(): value for name, value in self.headers.items()}.get(ID_HEADER, "")
        return found if _ID.fullmatch(found) else ""


async def verify(request: Request[State]) -> Response:
    """Whether the message is valid; if not, why, as far as can be told."""
    user_id = await request.state["authenticator"].user(request)
    asked, _ = await read_json(request, ReceivedMessage)
    async with request.state["database"].reading() as session:
        endpoint = await _endpoint(session, user_id, asked)
        if endpoint is None:
            raise WebhookNotFound(
                "The webhook-id of the message is unknown. Give the `id` of the webhook that received it."
            )
        others = [one for one in await endpoints.list_by_user(session, user_id) if one != endpoint]
        sent = await _load_sent(session, endpoint, asked.message_id)
    received = asked.received_at.timestamp() if asked.received_at else time.time()
    found = await asyncio.to_thread(  # it tries thousands of signatures
        diagnose,
        asked.headers,
        asked.raw,
        _keys(endpoint, others[:MAX_COMPARED]),
        now=received,
        expected=asked.expected,
        sent=sent,
    )
    return json_response(_to_response(found, endpoint))


async def _endpoint(session: AsyncSession, user_id: str, asked: ReceivedMessage) -> Endpoint | None:
    if asked.id is not None:
        return await endpoints.get(session, user_id, asked.id)
    endpoint_id = await delivery_queries.find_endpoint_id(session, user_id, asked.message_id)
    if endpoint_id is not None:
        return await endpoints.get(session, user_id, endpoint_id)
    mine = await endpoints.list_by_user(session, user_id)
    return mine[0] if len(mine) == 1 else None


async def _load_sent(session: AsyncSession, endpoint: Endpoint, message_id: str) -> list[SentMessage]:
    one = await delivery_queries.get(session, endpoint.endpoint_id, message_id)
    latest = (
        [one]
        if one
        else await delivery_queries.list_page(
            session, endpoint.endpoint_id, state=None, before=None, limit=MAX_COMPARED
        )
    )
    return [SentMessage(each.delivery_id, each.payload.encode()) for each in latest]


def _keys(endpoint: Endpoint, others: list[Endpoint]) -> Keys:
    public = active_public_keys(endpoint, now=time.time())
    return Keys(
        current=decode_secret(endpoint.secret),
        previous=(decode_secret(endpoint.previous_secret),) if endpoint.previous_secret else (),
        public=ed25519.decode_public(public[0]) if public else None,
        others=tuple(decode_secret(one.secret) for one in others),
    )


def _to_response(found: Diagnosis, endpoint: Endpoint) -> dict[str, Any]:
    return {
        "valid": found.valid,
        "problem": found.problem,
        "detail": found.detail,
        "problems": found.problems,
        "header": found.header,
        "clock_off_seconds": found.clock_off_seconds,
        "id": endpoint.endpoint_id,
    }
