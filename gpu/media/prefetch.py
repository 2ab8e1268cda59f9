"""Prefetch the items of a generator in a background thread."""

from collections.abc import Generator
from dataclasses import dataclass
from queue import Queue
from threading import Event, Thread
from typing import TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class _End:
    """Mark the end of the items; `failure` is the exception that ended them early."""

    failure: BaseException | None


def prefetch(items: Generator[Item, None, None], count: int) -> Generator[Item, None, None]:
    """Yield the same items in the same order, up to `count` of them produced in advance.

    Raises what `items` raises. Closing it ends the thread within one item, closes `items`, and waits for both.
    """
    queue: Queue[Item | _End] = Queue(count)
    stop = Event()
    thread = Thread(target=_produce, args=(items, queue, stop), name="prefetch", daemon=True)
    thread.start()
    item: Item | _End | None = None
    try:
        while not isinstance(item := queue.get(), _End):
            yield item
    finally:
        stop.set()
        while not isinstance(item, _End):  # the thread may be waiting for space in the queue
            item = queue.get()
        thread.join()
    if item.failure is not None:
        raise item.failure


def _produce(items: Generator[Item, None, None], queue: "Queue[Item | _End]", stop: Event) -> None:
    failure = None
    try:
        for item in items:
            queue.put(item)
            if stop.is_set():
                break
        items.close()
    except BaseException as error:  # noqa: BLE001 - raised again in the thread that takes the items
        failure = error
    queue.put(_End(failure))
