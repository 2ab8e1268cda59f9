"""The concurrency limit against simulated receivers of several kinds."""

import heapq
import random
from collections.abc import Callable

import pytest

from service.webhooks.scheduling.concurrency import MAX_CAUTION, ConcurrencyLimit

MAXIMUM = 8
TIMEOUT_SECONDS = 15.0
Receiver = Callable[[float], float]
"""Returns when the receiver responds to what it is sent at a time."""


def build_queueing(seconds: float, workers: int = 1) -> Receiver:
    """Build a receiver whose workers each need `seconds` for a request."""
    free_at = [0.0] * workers

    def respond(now: float) -> float:
        done = max(now, heapq.heappop(free_at)) + seconds
        heapq.heappush(free_at, done)
        return done

    return respond


def build_parallel(shortest: float, longest: float) -> Receiver:
    """Build a receiver that takes any number at a time, each within the given times."""
    generator = random.Random(7)  # noqa: S311 - the same for every run
    return lambda now: now + generator.uniform(shortest, longest)


def deliver(receiver: Receiver, count: int) -> tuple[int, int, float]:
    """Deliver `count`; return the timeouts, the peak in flight and the time it took."""
    limit, now, failures, peak = ConcurrencyLimit(), 0.0, 0, 0
    in_flight: list[tuple[float, float, int]] = []
    while count or in_flight:
        started = min(count, limit.value - len(in_flight))
        concurrent = len(in_flight) + max(0, started)
        for _ in range(started):
            done = min(receiver(now), now + TIMEOUT_SECONDS)
            heapq.heappush(in_flight, (done, now, concurrent))
        count -= max(0, started)
        peak = max(peak, len(in_flight))
        now, since, concurrent = in_flight[0]
        if now - since < TIMEOUT_SECONDS:
            limit.record_success(now - since, in_flight=max(concurrent, len(in_flight)), maximum=MAXIMUM)
        else:
            failures += 1
            limit.record_failure()
        heapq.heappop(in_flight)
    return failures, peak, now


def test_twelve_deliveries_of_three_seconds_each_do_not_take_thirty_six() -> None:
    assert deliver(build_parallel(3, 3), 12) == (0, 5, 12)


@pytest.mark.parametrize(
    "receiver",
    [
        build_parallel(2, 3),
        build_parallel(3, 6),
        build_parallel(2, 8),
        build_parallel(10, 14),
        build_queueing(3, workers=8),
    ],
    ids=["2 to 3 s", "3 to 6 s", "2 to 8 s", "10 to 14 s", "eight workers"],
)
def test_a_receiver_that_takes_many_at_a_time_is_sent_many(receiver: Receiver) -> None:
    failures, peak, _ = deliver(receiver, 200)
    assert (failures, peak) == (0, MAXIMUM)


@pytest.mark.parametrize("seconds", [2.5, 3, 5, 7])
def test_a_receiver_that_takes_one_after_the_other_never_times_out(seconds: float) -> None:
    assert deliver(build_queueing(seconds), 200)[0] == 0


@pytest.mark.parametrize("workers", [2, 3, 5])
def test_a_receiver_with_few_workers_never_times_out(workers: int) -> None:
    assert deliver(build_queueing(4, workers), 200)[0] == 0


@pytest.mark.parametrize("seconds", [8, 12])
def test_a_receiver_that_cannot_take_two_is_rarely_sent_two(seconds: float) -> None:
    failures, _, _ = deliver(build_queueing(seconds), 400)
    assert failures <= 60


def test_the_first_failure_leaves_one_at_a_time() -> None:
    limit = ConcurrencyLimit()
    for in_flight in (1, 2, 2, 4, 4, 4, 4):
        limit.record_success(3, in_flight=in_flight, maximum=MAXIMUM)
    assert limit.value == 8
    limit.record_failure()
    assert limit.value == 1


def test_deliveries_sent_alone_raise_the_limit_to_two_at_most() -> None:
    limit = ConcurrencyLimit()
    for _ in range(100):
        limit.record_success(3, in_flight=1, maximum=MAXIMUM)
    assert limit.value == 2


def test_a_receiver_that_failed_for_long_regains_its_concurrency() -> None:
    limit = ConcurrencyLimit(caution=MAX_CAUTION)
    for _ in range(1_000):
        limit.record_failure()
    for _ in range(1_000):
        limit.record_success(3, in_flight=limit.value, maximum=MAXIMUM)
    assert (limit.value, limit.caution) == (MAXIMUM, 1)
