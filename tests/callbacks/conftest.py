"""A listening service, and reporters that report to it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from callbacks.reporter import Reporter
from tests.callbacks.reporter_factory import create_reporter
from tests.callbacks.scripted_server import FakeClock, Receiver, receiver


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def service() -> Iterator[Receiver]:
    with receiver() as listening:
        yield listening


@pytest.fixture
def reporter(service: Receiver, clock: FakeClock) -> Iterator[Reporter]:
    """An entered reporter whose backoff is the longest possible."""
    with create_reporter(service, clock, random=lambda: 1 - 2**-53) as entered:
        yield entered


@pytest.fixture
def fast_reporter(service: Receiver, clock: FakeClock) -> Iterator[Reporter]:
    """An entered reporter that retries without delay."""
    with create_reporter(service, clock) as entered:
        yield entered


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as executor:
        yield executor
