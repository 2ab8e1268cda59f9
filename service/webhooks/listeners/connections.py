"""The listeners that are connected to this process, and the deliveries that are handed to them.

All listeners of an endpoint share one queue, so that each delivery goes to one of them, whichever is free first.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from service.webhooks.models import Delivery
from service.webhooks.retry_policy import NO_LISTENER, AttemptResult
from service.webhooks.signing import Message

_DISCONNECTED: Final = AttemptResult(
    0.0,
    error_code=NO_LISTENER,
    error_message="The listener disconnected before it took this delivery; the next one to connect gets it.",
)


@dataclass(eq=False)
class HandedDelivery:
    """A delivery for a listener, with what a URL would be sent; `connection` is the one that has taken it.

    `outcome` is set to the result of the attempt, or to None if the result is in the log.
    """

    delivery: Delivery
    message: Message
    outcome: "asyncio.Future[AttemptResult | None]"
    connection: "ListenerConnection | None" = None

    @property
    def key(self) -> tuple[str, int]:
        return self.delivery.delivery_id, self.delivery.attempts

    def settle(self, result: AttemptResult | None) -> None:
        """Set the outcome, unless there is one."""
        if not self.outcome.done():
            self.outcome.set_result(result)


class ListenerClosed(Exception):
    """The connection of a listener has to end; its client may connect again."""


class ListenerConnection:
    """One connected listener."""

    def __init__(self, queue: deque[HandedDelivery]) -> None:
        self._queue = queue
        self._wakeup = asyncio.Event()
        self.is_closed = False

    async def next(self) -> HandedDelivery:
        """Wait for a delivery and take it; raises ListenerClosed."""
        while not self.is_closed:
            if (
                self._queue
            ):  # nothing is awaited between taking and returning, so a cancellation loses nothing
                handed = self._queue.popleft()
                handed.connection = self
                return handed
            self._wakeup.clear()
            await self._wakeup.wait()
        raise ListenerClosed

    def wake(self) -> None:
        """Look at the queue again."""
        self._wakeup.set()

    def close(self) -> None:
        """End the connection."""
        self.is_closed = True
        self.wake()


class Listeners:
    """The listeners that are connected to this process, by endpoint."""

    def __init__(self) -> None:
        self._connections: dict[str, set[ListenerConnection]] = {}
        self._queues: dict[str, deque[HandedDelivery]] = {}
        self._handed: dict[tuple[str, int], HandedDelivery] = {}
        self.is_closed = False

    @property
    def endpoint_ids(self) -> list[str]:
        """The endpoints that have a listener here; the others wait, or have one at another replica."""
        return list(self._connections)

    @contextmanager
    def connect(self, endpoint_id: str) -> Iterator[ListenerConnection]:
        """Hold a connection for the deliveries of an endpoint until the block ends."""
        connection = ListenerConnection(self._queues.setdefault(endpoint_id, deque()))
        self._connections.setdefault(endpoint_id, set()).add(connection)
        if self.is_closed:
            connection.close()
        try:
            yield connection
        finally:
            connections = self._connections[endpoint_id]
            connections.discard(connection)
            if not connections:
                del self._connections[endpoint_id]
                for handed in self._queues.pop(endpoint_id):
                    handed.settle(_DISCONNECTED)

    @contextmanager
    def hand_over(self, delivery: Delivery, message: Message) -> Iterator[HandedDelivery]:
        """Queue a delivery for the listeners of its endpoint; after the block they can't take it any more."""
        handed = HandedDelivery(delivery, message, asyncio.get_running_loop().create_future())
        queue = self._queues.get(delivery.endpoint_id)
        if queue is None:
            handed.settle(_DISCONNECTED)
            yield handed
            return
        queue.append(handed)
        self._handed[handed.key] = handed
        for connection in self._connections[delivery.endpoint_id]:
            connection.wake()
        try:
            yield handed
        finally:
            del self._handed[handed.key]
            if handed in queue:
                queue.remove(handed)

    def settle(self, delivery_id: str, attempt: int, result: AttemptResult | None = None) -> None:
        """End the wait for the outcome of an attempt, which is in the log; no-op if nothing waits for it here."""
        if (handed := self._handed.get((delivery_id, attempt))) is not None:
            handed.settle(result)

    def close_endpoint(self, endpoint_id: str) -> None:
        """End the connections of an endpoint."""
        for connection in self._connections.get(endpoint_id, ()):
            connection.close()

    def close(self) -> None:
        """End all connections, including those opened later."""
        self.is_closed = True
        for endpoint_id in self._connections:
            self.close_endpoint(endpoint_id)
