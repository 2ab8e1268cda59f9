"""Prefetching in a thread: the same items, the same errors, and no thread left over."""

import threading
from collections.abc import Generator
from contextlib import closing
from itertools import count, islice

import pytest

from gpu.media.prefetch import prefetch


class Work:
    """A counting generator that may fail, and records its progress and whether it was closed."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.produced = threading.Semaphore(0)
        self.closed = False
        self._fails_at = fails_at

    def items(self) -> Generator[int, None, None]:
        try:
            for number in count():
                if number == self._fails_at:
                    raise ValueError(number)
                self.produced.release()
                yield number
        finally:
            self.closed = True


def list_threads() -> list[str]:
    """Return the running prefetch threads."""
    return [thread.name for thread in threading.enumerate() if thread.name == "prefetch"]


def test_items_come_in_order_and_the_end_is_an_end() -> None:
    assert list(prefetch((number for number in range(100)), 4)) == list(range(100))
    assert list_threads() == []


def test_an_error_is_raised_after_what_came_before_it() -> None:
    work = Work(fails_at=5)
    working = prefetch(work.items(), 3)
    assert list(islice(working, 5)) == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="5"):
        next(working)
    assert list_threads() == []


def test_no_more_is_made_than_was_asked_for() -> None:
    work = Work()
    with closing(prefetch(work.items(), 3)) as working:
        assert next(working) == 0
        for _ in range(5):  # one taken, three queued, one that the thread is about to queue
            assert work.produced.acquire(timeout=30)
        assert not work.produced.acquire(timeout=0.05)


def test_closing_ends_the_work_and_its_thread() -> None:
    work = Work()
    working = prefetch(work.items(), 3)
    assert next(working) == 0
    working.close()
    assert work.closed
    assert list_threads() == []


def test_what_was_never_begun_starts_nothing() -> None:
    work = Work()
    prefetch(work.items(), 3).close()
    assert not work.produced.acquire(blocking=False)
    assert list_threads() == []
