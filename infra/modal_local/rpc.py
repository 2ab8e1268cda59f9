"""Serve plain methods as the gRPC service that the SDK calls; others fail with UNIMPLEMENTED."""

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
StreamHandler = Callable[[Request], Awaitable[None]]
Metadata = Mapping[str, Any]
Gate = Callable[[Metadata], None]

# The SDK repeats a request with the same key if it got no response.
idempotency_key: ContextVar[str] = ContextVar("idempotency_key", default="")


def token_gate(token: Token, faults: Faults) -> Gate:
    """Return a gate that lets clients with this token pass."""

    def check(metadata: Metadata) -> None:
        credentials = f"{metadata.get('x-modal-token-id')} {metadata.get('x-modal-token-secret')}"
        if faults.token_revoked or not hmac.compare_digest(
            credentials.encode(), f"{token.id} {token.secret}".encode()
        ):
            raise GRPCError(Status.UNAUTHENTICATED, "Token ID or secret is invalid")

    return check


def open_gate(_metadata: Metadata) -> None:
    """Let every request pass: containers are identified by their socket."""


class Service:
    """The SDK's gRPC service, composed of parts.

    A part implements FunctionGet as `async def function_get(request)`, and a stream as an async generator.
    """

    def __init__(self, *parts: object, gate: Gate) -> None:
        self._parts = parts
        self._gate = gate

    def __mapping__(self) -> dict[str, Handler]:
        # The generated base class has the path and messages of every method, and looks up the methods on `self`.
        return ModalClientBase.__mapping__(cast("ModalClientBase", self))

    def __getattr__(self, name: str) -> StreamHandler:
        method = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
        for part in self._parts:
            if hasattr(part, method):
                return self._with_gate(handle_with(getattr(part, method)))
        return self._with_gate(refuse_method(name))

    def _with_gate(self, handler: StreamHandler) -> StreamHandler:
        async def handle(stream: Request) -> None:
            metadata = cast("Metadata", stream.metadata)
            self._gate(metadata)
            idempotency_key.set(str(metadata.get("x-idempotency-key", "")))
            await handler(stream)

        return handle


def handle_with(method: Callable[[Message], Any]) -> StreamHandler:
    """Return the handler of a part's method."""

    async def handle(stream: Request) -> None:
        request = await stream.recv_message()
        assert request is not None
        result = method(request)
        if isinstance(result, AsyncGenerator):
            async with aclosing(result) as messages:
                async for message in messages:
                    await stream.send_message(message)
        else:
            await stream.send_message(await result)

    return handle


def refuse_method(name: str) -> StreamHandler:
    """Return a handler that fails with UNIMPLEMENTED."""

    async def handle(_stream: Request) -> None:
        raise GRPCError(Status.UNIMPLEMENTED, f"{name} is not implemented by the local control plane")

    return handle
