"""Work done ahead: a thread makes what the next step takes, so that neither waits for the other at every turn."""

from collections.abc import Generator
from dataclasses import dataclass
from queue import Queue
from threading import Event, Thread
from typing import TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class _Ended:
    """Nothing more comes, and why if it broke off."""

    failure: BaseException | None


def prefetch(items: Generator[Item, None, None], count: int) -> Generator[Item, None, None]:
    """The same items in the same order, made up to `count` before they are taken; raises what they raise.

    Closing it ends the thread within an item, closes `items`, and waits for both.
    """
    made: Queue[Item | _Ended] = Queue(count)
    unwanted = Event()
    thread = Thread(target=_produce, args=(items, made, unwanted), name="ahead", daemon=True)
    thread.start()
    item: Item | _Ended | None = None
    try:
        while not isinstance(item := made.get(), _Ended):
            yield item
    finally:
        unwanted.set()
        while not isinstance(item, _Ended):  # the thread may wait for room
            item = made.get()
        thread.join()
    if item.failure is not None:
        raise item.failure


def _produce(items: Generator[Item, None, None], made: "Queue[Item | _Ended]", unwanted: Event) -> None:
    failure = None
    try:
        for item in items:
            made.put(item)
            if unwanted.is_set():
                break
        items.close()
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is raised where the items are taken
        failure = error
    made.put(_Ended(failure))
