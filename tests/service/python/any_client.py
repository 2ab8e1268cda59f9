"""Both Python clients behind one interface, so that each case runs with either."""

import asyncio
import io
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from framehook import AsyncClient, Client, Export
from framehook.settings import TokenSource
from framehook.transports.blocking import BlockingTransport
from framehook.transports.event_loop import AsyncTransport
from tests.support.live_server import FRAMING

KINDS = ("blocking", "async")


@dataclass
class AnyClient:
    """A `Client`, each call in a thread of its own, or an `AsyncClient`."""

    client: Client | AsyncClient

    async def call(self, name: str, /, *arguments: object, **options: object) -> Any:
        """Call a method, such as `get` or `webhooks.list`."""
        method = self._method(name)
        if isinstance(self.client, AsyncClient):
            return await method(*arguments, **options)
        return await asyncio.to_thread(method, *arguments, **options)

    async def items(self, name: str, /, *arguments: object, **options: object) -> AsyncGenerator[Any, None]:
        """Yield what a method yields."""
        items = self._method(name)(*arguments, **options)
        if isinstance(self.client, AsyncClient):
            async with aclosing(items):
                async for item in items:
                    yield item
            return
        end = object()
        try:
            while (item := await asyncio.to_thread(next, items, end)) is not end:
                yield item
        finally:
            await asyncio.to_thread(items.close)

    async def list_items(self, name: str, /, *arguments: object, **options: object) -> list[Any]:
        """Return all that a method yields."""
        return [item async for item in self.items(name, *arguments, **options)]

    async def close(self) -> None:
        if isinstance(self.client, AsyncClient):
            await self.client.close()
        else:
            self.client.close()

    def _method(self, name: str) -> Any:
        value: Any = self.client
        for part in name.split("."):
            value = getattr(value, part)
        return value


@dataclass
class ClientFactory:
    """Opens clients of one kind; impatient ones wait for nothing, and note in `slept` how long they would have."""

    kind: str
    folder: Path
    slept: list[float] = field(default_factory=list)
    _clients: list[AnyClient] = field(default_factory=list)

    def open(
        self,
        url: str | None,
        token: TokenSource = "",
        *,
        folder: Path | None = None,
        is_patient: bool = False,
        **options: Any,
    ) -> AnyClient:
        transport = None if is_patient else self._transport()
        options = {"resume_folder": folder or self.folder, "transport": transport, **options}
        kind: type[Client | AsyncClient] = Client if self.kind == "blocking" else AsyncClient
        self._clients.append(AnyClient(kind(url, token, **options)))
        return self._clients[-1]

    async def close(self) -> None:
        for client in self._clients:
            await client.close()

    def _transport(self) -> BlockingTransport | AsyncTransport:
        if self.kind == "blocking":
            return BlockingTransport(sleep=self.slept.append, jitter=lambda: 1.0, trust_env=False)

        async def sleep(seconds: float) -> None:
            self.slept.append(seconds)
            await asyncio.sleep(0)

        return AsyncTransport(sleep=sleep, jitter=lambda: 1.0, trust_env=False)


async def create_export(client: AnyClient, **options: object) -> Export:
    """Upload a few bytes and create an export of them."""
    key = await client.call("upload", io.BytesIO(b"video"), filename="match.mp4")
    job: Export = await client.call("create_export", "framing", {**FRAMING, "input_key": key}, **options)
    return job
