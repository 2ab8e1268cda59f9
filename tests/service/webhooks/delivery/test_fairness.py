"""The selection of deliveries: a slow endpoint does not delay the others."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from service.webhooks.scheduling.endpoint_health import HEALTHY_SECONDS, EndpointHealth
from service.webhooks.scheduling.fairness import Capacity, EndpointBacklog, share_slots


def due(endpoint_id: str, count: int) -> tuple[str, ...]:
    return tuple(f"{endpoint_id}{number}" for number in range(count))


def healthy(endpoint_id: str, count: int = 9, *, in_flight: int = 0, last_served: int = 0) -> EndpointBacklog:
    return EndpointBacklog(endpoint_id, due(endpoint_id, count), True, in_flight, last_served)


def unproven(
    endpoint_id: str, count: int = 9, *, in_flight: int = 0, last_served: int = 0
) -> EndpointBacklog:
    return EndpointBacklog(endpoint_id, due(endpoint_id, count), False, in_flight, last_served)


def test_endpoints_take_turns() -> None:
    assert share_slots([healthy("a"), healthy("b", 1)], Capacity(100, 3)) == ["a0", "b0", "a1", "a2"]


def test_the_least_recently_served_endpoint_comes_first() -> None:
    waiting = [unproven("a", last_served=7), unproven("b", last_served=3), unproven("c")]
    assert share_slots(waiting, Capacity(4, 8)) == ["c0", "b0"]


def test_an_endpoint_never_exceeds_its_limit() -> None:
    assert share_slots([healthy("a", in_flight=2)], Capacity(100, 3, healthy=2)) == ["a0"]
    assert share_slots([healthy("a", in_flight=3)], Capacity(100, 3, healthy=3)) == []


def test_an_unproven_endpoint_gets_one_at_a_time() -> None:
    assert share_slots([unproven("a")], Capacity(100, 3)) == ["a0"]
    assert share_slots([unproven("a", in_flight=1)], Capacity(100, 3, unproven=1)) == []


def test_unproven_endpoints_take_half_of_the_slots_at_most() -> None:
    taken = 0
    for _ in range(20):
        waiting = [unproven(f"{number:03}") for number in range(500)]
        taken += len(share_slots(waiting, Capacity(64, 8, unproven=taken)))
    assert taken == 32
    assert len(share_slots([healthy("a")], Capacity(64, 8, unproven=taken))) == 8


def test_a_new_endpoint_gets_a_slot_next_to_busy_ones() -> None:
    busy = [healthy(f"{number:03}") for number in range(500)]
    taken = len(share_slots(busy, Capacity(64, 8)))
    assert taken == 48
    assert share_slots([*busy, unproven("new")], Capacity(64, 8, healthy=taken)) == ["new0"]


def slow(endpoint_id: str, limit: int, *, in_flight: int = 0) -> EndpointBacklog:
    return EndpointBacklog(endpoint_id, due(endpoint_id, 9), False, in_flight, 0, limit)


def test_a_slow_endpoint_gets_its_concurrency_and_no_more_than_the_limit() -> None:
    assert share_slots([slow("a", 3)], Capacity(100, 8)) == ["a0", "a1", "a2"]
    assert share_slots([slow("a", 3, in_flight=2)], Capacity(100, 8, unproven=2, extra=1)) == ["a0"]
    assert len(share_slots([slow("a", 99)], Capacity(100, 8))) == 8


def test_slow_endpoints_leave_slots_for_new_and_healthy_ones() -> None:
    in_flight: Counter[str] = Counter()
    for _ in range(20):
        extra = sum(count - 1 for count in in_flight.values())
        waiting = [slow(f"{n:03}", 8, in_flight=in_flight[f"{n:03}"]) for n in range(12)]
        picked = share_slots(waiting, Capacity(64, 8, unproven=in_flight.total(), extra=extra))
        in_flight.update(delivery[:3] for delivery in picked)
    assert in_flight.total() == 12 + 64 // 4
    new = [unproven(f"new{number}") for number in range(9)]
    assert len(share_slots(new, Capacity(64, 8, unproven=28, extra=16))) == 4
    assert share_slots(new[:1], Capacity(64, 8, healthy=28, unproven=28, extra=16)) == ["new00"]
    assert len(share_slots([healthy("a")], Capacity(64, 8, unproven=28, extra=16))) == 8


def test_unproven_endpoints_never_take_the_last_slots() -> None:
    assert share_slots([slow("a", 8, in_flight=1)], Capacity(64, 8, healthy=48, unproven=8)) == []
    assert share_slots([slow("a", 8, in_flight=1)], Capacity(64, 8, healthy=48, unproven=7)) == ["a0"]


def test_a_single_slot_is_always_used() -> None:
    assert share_slots([unproven("a")], Capacity(1, 8)) == ["a0"]
    assert share_slots([healthy("a")], Capacity(1, 8)) == ["a0"]


candidates = st.lists(
    st.builds(
        EndpointBacklog,
        endpoint_id=st.uuids().map(str),
        due=st.lists(st.uuids().map(str), min_size=1, max_size=9, unique=True).map(tuple),
        healthy=st.booleans(),
        in_flight=st.integers(0, 9),
        last_served=st.integers(0, 99),
        concurrency=st.integers(1, 9),
    ),
    max_size=30,
    unique_by=lambda backlog: backlog.endpoint_id,
)


@given(
    waiting=candidates, total=st.integers(1, 64), per_endpoint=st.integers(1, 8), elsewhere=st.integers(0, 9)
)
def test_no_limit_is_ever_exceeded(
    waiting: list[EndpointBacklog], total: int, per_endpoint: int, elsewhere: int
) -> None:
    busy = sum(backlog.in_flight for backlog in waiting if backlog.healthy)
    slow = sum(backlog.in_flight for backlog in waiting if not backlog.healthy) + elsewhere
    extra = sum(max(0, backlog.in_flight - 1) for backlog in waiting if not backlog.healthy)
    picked = share_slots(waiting, Capacity(total, per_endpoint, busy, slow, extra))
    assert len(picked) == len(set(picked)) <= max(0, total - busy - slow)
    for backlog in waiting:
        own = [delivery for delivery in picked if delivery in backlog.due]
        assert tuple(own) == backlog.due[: len(own)]
        limit = per_endpoint if backlog.healthy else max(1, min(backlog.concurrency, per_endpoint))
        assert not own or len(own) + backlog.in_flight <= limit
    started = sum(len(set(backlog.due) & set(picked)) for backlog in waiting if not backlog.healthy)
    assert not started or started + slow <= max(1, total // 2)
    firsts = sum(
        backlog.in_flight == 0 and backlog.due[0] in picked for backlog in waiting if not backlog.healthy
    )
    assert started == firsts or started - firsts + extra <= total // 4
    assert started == firsts or len(picked) + busy + slow <= total - max(1, total // 8)


def test_an_unknown_endpoint_is_unproven_until_it_has_responded_fast() -> None:
    health = EndpointHealth()
    assert not health.is_healthy("a")
    health.record_start("a")
    assert not health.is_healthy("a")
    health.record_result("a", delivered=True, seconds=HEALTHY_SECONDS / 2, now=0)
    assert health.is_healthy("a")


def test_an_endpoint_that_fails_or_responds_slowly_is_not_healthy_any_more() -> None:
    health = EndpointHealth()
    for delivered, seconds in ((False, 0.1), (True, HEALTHY_SECONDS)):
        health.record_start("a")
        health.record_result("a", delivered=True, seconds=0.1, now=0)
        health.record_result("a", delivered=delivered, seconds=seconds, now=0)
        assert not health.is_healthy("a")


def test_the_most_recently_served_endpoints_are_remembered() -> None:
    health = EndpointHealth(max_tracked=2)
    for endpoint_id in ("a", "b", "a", "c"):
        health.record_start(endpoint_id)
    assert [health.last_served(endpoint_id) for endpoint_id in ("a", "b", "c")] == [3, 0, 4]
    health.record_result("b", delivered=True, seconds=0.1, now=0)
    assert not health.is_healthy("b")


def test_an_endpoint_that_fails_is_paused_longer_each_time_until_it_succeeds() -> None:
    health = EndpointHealth()
    health.record_start("a")
    rests = []
    for _ in range(8):
        health.record_result("a", delivered=False, seconds=0.1, now=100)
        rests.append(next(n for n in range(100) if not health.is_backing_off("a", now=100 + n)))
    assert rests == [0, 0, 1, 2, 4, 8, 16, 16]
    health.record_result("a", delivered=True, seconds=0.1, now=100)
    assert not health.is_backing_off("a", now=100)


def test_a_clock_that_is_set_back_ends_a_pause() -> None:
    health = EndpointHealth()
    health.record_start("a")
    health.record_result("a", delivered=False, seconds=0.1, now=100_000)
    assert not health.is_backing_off("a", now=100)
