"""Turns plain methods into the gRPC service that the SDK calls; what is missing answers UNIMPLEMENTED by name."""

import hmac
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any, cast

from google.protobuf.message import Message
from grpclib import GRPCError, Status
from grpclib.const import Handler
from grpclib.server import Stream
from modal_proto.api_grpc import ModalClientBase

from infra.modal_local.faults import Faults
from infra.modal_local.state import Token

Request = Stream[Message, Message]
Behaviour = Callable[[Request], Awaitable[None]]
Metadata = Mapping[str, Any]
Gate = Callable[[Metadata], None]

# The SDK sends the same key again when it repeats a request whose answer it did not get.
idempotency_key: ContextVar[str] = ContextVar("idempotency_key", default="")


def token_gate(token: Token, faults: Faults) -> Gate:
    """Return a check of the metadata of clients, which must carry the token."""

    def check(metadata: Metadata) -> None:
        shown = f"{metadata.get('x-modal-token-id')} {metadata.get('x-modal-token-secret')}"
        if faults.token_revoked or not hmac.compare_digest(
            shown.encode(), f"{token.id} {token.secret}".encode()
        ):
            raise GRPCError(Status.UNAUTHENTICATED, "Token ID or secret is invalid")

    return check


def open_gate(_metadata: Metadata) -> None:
    """Let everyone in: a container is known by its socket."""


class Service:
    """The SDK's service, made of parts.

    A part answers FunctionGet by `async def function_get(request)`, and a stream by an async generator.
    """

    def __init__(self, *parts: object, gate: Gate) -> None:
        self._parts = parts
        self._gate = gate

    def __mapping__(self) -> dict[str, Handler]:
        # The generated base class knows every method's path and messages; it looks the methods up on us.
        return ModalClientBase.__mapping__(cast("ModalClientBase", self))

    def __getattr__(self, name: str) -> Behaviour:
        method = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
        for part in self._parts:
            if hasattr(part, method):
                return self._with_gate(answer_with(getattr(part, method)))
        return self._with_gate(refuse_method(name))

    def _with_gate(self, behaviour: Behaviour) -> Behaviour:
        async def answer(stream: Request) -> None:
            metadata = cast("Metadata", stream.metadata)
            self._gate(metadata)
            idempotency_key.set(str(metadata.get("x-idempotency-key", "")))
            await behaviour(stream)

        return answer


def answer_with(method: Callable[[Message], Any]) -> Behaviour:
    """Return the behaviour of one of a part's methods."""

    async def answer(stream: Request) -> None:
        request = await stream.recv_message()
        assert request is not None
        result = method(request)
        if isinstance(result, AsyncGenerator):
            async with aclosing(result) as messages:
                async for message in messages:
                    await stream.send_message(message)
        else:
            await stream.send_message(await result)

    return answer


def refuse_method(name: str) -> Behaviour:
    """Return the behaviour of a method that no part has."""

    async def answer(_stream: Request) -> None:
        raise GRPCError(Status.UNIMPLEMENTED, f"{name} is not implemented by the local control plane")

    return answer
