"""The faults that test events rehearse, and what each does to a message."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from enum import StrEnum
from typing import Final

import msgspec

from infra.egress import EgressClient
from infra.egress.results import EgressResponse
from service.webhooks import endpoints
from service.webhooks.models import Delivery, Endpoint
from service.webhooks.signing import Message, build_message

LATE_SECONDS: Final = 26 * 3_600.0
SLOW_SECONDS: Final = 3.0
_SLOW_PIECES: Final = 6


class Fault(StrEnum):
    """What may happen to a webhook on a bad day, for a test of its receiver.

    `duplicate`: the message comes twice. `late`: the event is a day old, with a new signature. `reorder`: the event
    before it comes after it. `slow`: the body comes in pieces, over three seconds. `truncate`: the end of the body is
    missing. `bad-signature`: an unknown secret has signed. `old-secret`: as after a rotation, the first signature is
    of a newer secret, and the second of the receiver's. Those of `truncate` and `bad-signature` must be refused.
    """

    DUPLICATE = "duplicate"
    LATE = "late"
    REORDER = "reorder"
    SLOW = "slow"
    TRUNCATE = "truncate"
    BAD_SIGNATURE = "bad-signature"
    OLD_SECRET = "old-secret"  # noqa: S105 - the name of a fault

    @property
    def makes_invalid(self) -> bool:
        """A receiver must refuse the message."""
        return self in {Fault.TRUNCATE, Fault.BAD_SIGNATURE}


def build_test_message(endpoint: Endpoint, delivery: Delivery, *, now: float) -> Message:
    """Sign a delivery as of `now`, and change of the message what the fault of a test asks for."""
    if delivery.fault == Fault.BAD_SIGNATURE:
        endpoint = msgspec.structs.replace(_rotate(endpoint), previous_until=None)
    elif delivery.fault == Fault.OLD_SECRET:
        endpoint = _rotate(endpoint)
    message = build_message(endpoint, delivery, now=now)
    if delivery.fault == Fault.TRUNCATE:
        text = message.body[: len(message.body) * 2 // 3].decode(errors="ignore")  # not within a character
        message = replace(message, body=text.encode())
    return message


async def post_message(
    egress: EgressClient,
    url: str,
    message: Message,
    fault: str | None = None,
    *,
    slow_seconds: float = SLOW_SECONDS,
) -> EgressResponse:
    """Post a message, twice or slowly if its fault asks for it; return the last response."""
    body = message.body
    if fault == Fault.SLOW:
        headers = {**message.headers, "content-length": str(len(body))}
        return await egress.post(url, body=_read_slowly(body, slow_seconds), headers=headers)
    response = await egress.post(url, body=body, headers=message.headers)
    if fault == Fault.DUPLICATE and response.is_success:
        response = await egress.post(url, body=body, headers=message.headers)
    return response


def _rotate(endpoint: Endpoint) -> Endpoint:
    """Return the endpoint as after a rotation of its secrets, which is stored nowhere."""
    values = endpoints.new_values("", "", ed25519=endpoint.signing_key is not None, now=0.0)
    return msgspec.structs.replace(
        endpoint,
        secret=str(values["secret"]),
        previous_secret=endpoint.secret,
        signing_key=values["signing_key"],
        previous_signing_key=endpoint.signing_key,
        previous_until=float("inf"),
    )


async def _read_slowly(body: bytes, seconds: float) -> AsyncGenerator[bytes, None]:
    size = -(-len(body) // _SLOW_PIECES)
    for start in range(0, len(body), size):
        if start:
            await asyncio.sleep(seconds / (_SLOW_PIECES - 1))
        yield body[start : start + size]
