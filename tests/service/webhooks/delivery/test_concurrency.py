"""How many deliveries at a time a receiver is sent, learnt from receivers of every kind; in simulated time."""

import heapq
import random
from collections.abc import Callable

import pytest

from service.webhooks.concurrency import MAX_CAUTION, ConcurrencyLimit

MAXIMUM = 8
TIMEOUT_SECONDS = 15.0
Receiver = Callable[[float], float]
"""When a receiver answers what it is sent at a time."""


def queueing(seconds: float, workers: int = 1) -> Receiver:
    """A receiver with so many workers, each of which takes so long for a request."""
    free_at = [0.0] * workers

    def answer(now: float) -> float:
        done = max(now, heapq.heappop(free_at)) + seconds
        heapq.heappush(free_at, done)
        return done

    return answer


def parallel(shortest: float, longest: float) -> Receiver:
    """A receiver that takes any number at a time, and between so and so long for each."""
    dice = random.Random(7)  # noqa: S311 - the same for every run
    return lambda now: now + dice.uniform(shortest, longest)


def deliver(receiver: Receiver, count: int) -> tuple[int, int, float]:
    """Deliver so many; return how many timed out, the most that were in flight, and how long all of it took."""
    limit, now, failures, peak = ConcurrencyLimit(), 0.0, 0, 0
    in_flight: list[tuple[float, float, int]] = []
    while count or in_flight:
        begun = min(count, limit.value - len(in_flight))
        together = len(in_flight) + max(0, begun)
        for _ in range(begun):
            done = min(receiver(now), now + TIMEOUT_SECONDS)
            heapq.heappush(in_flight, (done, now, together))
        count -= max(0, begun)
        peak = max(peak, len(in_flight))
        now, since, together = in_flight[0]
        if now - since < TIMEOUT_SECONDS:
            limit.record_success(now - since, in_flight=max(together, len(in_flight)), maximum=MAXIMUM)
        else:
            failures += 1
            limit.record_failure()
        heapq.heappop(in_flight)
    return failures, peak, now


def test_twelve_deliveries_of_three_seconds_each_do_not_take_thirty_six() -> None:
    assert deliver(parallel(3, 3), 12) == (0, 5, 12)


@pytest.mark.parametrize(
    "receiver",
    [parallel(2, 3), parallel(3, 6), parallel(2, 8), parallel(10, 14), queueing(3, workers=8)],
    ids=["2 to 3 s", "3 to 6 s", "2 to 8 s", "10 to 14 s", "eight workers"],
)
def test_a_receiver_that_takes_many_at_a_time_is_sent_many(receiver: Receiver) -> None:
    failures, peak, _ = deliver(receiver, 200)
    assert (failures, peak) == (0, MAXIMUM)


@pytest.mark.parametrize("seconds", [2.5, 3, 5, 7])
def test_a_receiver_that_takes_one_after_the_other_never_times_out(seconds: float) -> None:
    assert deliver(queueing(seconds), 200)[0] == 0


@pytest.mark.parametrize("workers", [2, 3, 5])
def test_a_receiver_with_few_workers_never_times_out(workers: int) -> None:
    assert deliver(queueing(4, workers), 200)[0] == 0


@pytest.mark.parametrize("seconds", [8, 12])
def test_a_receiver_that_cannot_take_two_is_rarely_sent_two(seconds: float) -> None:
    failures, _, _ = deliver(queueing(seconds), 400)
    assert failures <= 60


def test_the_first_failure_leaves_one_at_a_time() -> None:
    limit = ConcurrencyLimit()
    for in_flight in (1, 2, 2, 4, 4, 4, 4):
        limit.record_success(3, in_flight=in_flight, maximum=MAXIMUM)
    assert limit.value == 8
    limit.record_failure()
    assert limit.value == 1


def test_what_was_sent_alone_earns_no_more_than_two_at_a_time() -> None:
    limit = ConcurrencyLimit()
    for _ in range(100):
        limit.record_success(3, in_flight=1, maximum=MAXIMUM)
    assert limit.value == 2


def test_a_receiver_that_failed_for_long_earns_its_places_again() -> None:
    limit = ConcurrencyLimit(caution=MAX_CAUTION)
    for _ in range(1_000):
        limit.record_failure()
    for _ in range(1_000):
        limit.record_success(3, in_flight=limit.value, maximum=MAXIMUM)
    assert (limit.value, limit.caution) == (MAXIMUM, 1)
