"""Whose turn it is, decided without a database: nobody's slowness is anybody else's."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from service.webhooks.endpoint_health import HEALTHY_SECONDS, EndpointHealth
from service.webhooks.fairness import Capacity, EndpointBacklog, chosen


def due(endpoint_id: str, count: int) -> tuple[str, ...]:
    return tuple(f"{endpoint_id}{number}" for number in range(count))


def brisk(endpoint_id: str, count: int = 9, *, under_way: int = 0, last_turn: int = 0) -> EndpointBacklog:
    return EndpointBacklog(endpoint_id, due(endpoint_id, count), True, under_way, last_turn)


def doubtful(endpoint_id: str, count: int = 9, *, under_way: int = 0, last_turn: int = 0) -> EndpointBacklog:
    return EndpointBacklog(endpoint_id, due(endpoint_id, count), False, under_way, last_turn)


def test_endpoints_take_turns() -> None:
    assert chosen([brisk("a"), brisk("b", 1)], Capacity(100, 3)) == ["a0", "b0", "a1", "a2"]


def test_whoever_had_no_turn_for_longest_comes_first() -> None:
    waiting = [doubtful("a", last_turn=7), doubtful("b", last_turn=3), doubtful("c")]
    assert chosen(waiting, Capacity(4, 8)) == ["c0", "b0"]


def test_one_endpoint_has_so_many_at_a_time_and_no_more() -> None:
    assert chosen([brisk("a", under_way=2)], Capacity(100, 3, brisk=2)) == ["a0"]
    assert chosen([brisk("a", under_way=3)], Capacity(100, 3, brisk=3)) == []


def test_one_that_may_be_slow_has_one_at_a_time() -> None:
    assert chosen([doubtful("a")], Capacity(100, 3)) == ["a0"]
    assert chosen([doubtful("a", under_way=1)], Capacity(100, 3, doubtful=1)) == []


def test_those_that_may_be_slow_have_half_of_the_places_at_most_however_often_it_is_asked() -> None:
    taken = 0
    for _ in range(20):
        waiting = [doubtful(f"{number:03}") for number in range(500)]
        taken += len(chosen(waiting, Capacity(64, 8, doubtful=taken)))
    assert taken == 32
    assert len(chosen([brisk("a")], Capacity(64, 8, doubtful=taken))) == 8


def test_a_new_endpoint_finds_a_place_beside_those_that_are_always_busy() -> None:
    busy = [brisk(f"{number:03}") for number in range(500)]
    taken = len(chosen(busy, Capacity(64, 8)))
    assert taken == 48
    assert chosen([*busy, doubtful("new")], Capacity(64, 8, brisk=taken)) == ["new0"]


def slow(endpoint_id: str, limit: int, *, under_way: int = 0) -> EndpointBacklog:
    return EndpointBacklog(endpoint_id, due(endpoint_id, 9), False, under_way, 0, limit)


def test_a_slow_endpoint_has_as_many_at_a_time_as_it_has_earned_and_no_more_than_any_other() -> None:
    assert chosen([slow("a", 3)], Capacity(100, 8)) == ["a0", "a1", "a2"]
    assert chosen([slow("a", 3, under_way=2)], Capacity(100, 8, doubtful=2, extra=1)) == ["a0"]
    assert len(chosen([slow("a", 99)], Capacity(100, 8))) == 8


def test_slow_endpoints_that_have_earned_more_leave_room_for_new_and_for_healthy_ones() -> None:
    in_flight: Counter[str] = Counter()
    for _ in range(20):
        extra = sum(count - 1 for count in in_flight.values())
        waiting = [slow(f"{n:03}", 8, under_way=in_flight[f"{n:03}"]) for n in range(12)]
        picked = chosen(waiting, Capacity(64, 8, doubtful=in_flight.total(), extra=extra))
        in_flight.update(delivery[:3] for delivery in picked)
    assert in_flight.total() == 12 + 64 // 4
    new = [doubtful(f"new{number}") for number in range(9)]
    assert len(chosen(new, Capacity(64, 8, doubtful=28, extra=16))) == 4
    assert chosen(new[:1], Capacity(64, 8, brisk=28, doubtful=28, extra=16)) == ["new00"]
    assert len(chosen([brisk("a")], Capacity(64, 8, doubtful=28, extra=16))) == 8


def test_nobody_grows_into_the_last_places() -> None:
    assert chosen([slow("a", 8, under_way=1)], Capacity(64, 8, brisk=48, doubtful=8)) == []
    assert chosen([slow("a", 8, under_way=1)], Capacity(64, 8, brisk=48, doubtful=7)) == ["a0"]


def test_with_a_single_place_somebody_is_sent_something() -> None:
    assert chosen([doubtful("a")], Capacity(1, 8)) == ["a0"]
    assert chosen([brisk("a")], Capacity(1, 8)) == ["a0"]


candidates = st.lists(
    st.builds(
        EndpointBacklog,
        endpoint_id=st.uuids().map(str),
        due=st.lists(st.uuids().map(str), min_size=1, max_size=9, unique=True).map(tuple),
        brisk=st.booleans(),
        under_way=st.integers(0, 9),
        last_turn=st.integers(0, 99),
        limit=st.integers(1, 9),
    ),
    max_size=30,
    unique_by=lambda one: one.endpoint_id,
)


@given(
    waiting=candidates, total=st.integers(1, 64), per_endpoint=st.integers(1, 8), elsewhere=st.integers(0, 9)
)
def test_no_bound_is_ever_passed(
    waiting: list[EndpointBacklog], total: int, per_endpoint: int, elsewhere: int
) -> None:
    busy = sum(one.under_way for one in waiting if one.brisk)
    slow = sum(one.under_way for one in waiting if not one.brisk) + elsewhere
    extra = sum(max(0, one.under_way - 1) for one in waiting if not one.brisk)
    picked = chosen(waiting, Capacity(total, per_endpoint, busy, slow, extra))
    assert len(picked) == len(set(picked)) <= max(0, total - busy - slow)
    for one in waiting:
        own = [delivery for delivery in picked if delivery in one.due]
        assert tuple(own) == one.due[: len(own)]
        most = per_endpoint if one.brisk else max(1, min(one.limit, per_endpoint))
        assert not own or len(own) + one.under_way <= most
    begun = sum(len(set(one.due) & set(picked)) for one in waiting if not one.brisk)
    assert not begun or begun + slow <= max(1, total // 2)
    firsts = sum(one.under_way == 0 and one.due[0] in picked for one in waiting if not one.brisk)
    assert begun == firsts or begun - firsts + extra <= total // 4
    assert begun == firsts or len(picked) + busy + slow <= total - max(1, total // 8)


def test_a_stranger_is_not_taken_for_brisk_and_is_once_it_has_answered_at_once() -> None:
    known = EndpointHealth()
    assert not known.brisk("a")
    known.begun("a")
    assert not known.brisk("a")
    known.ended("a", delivered=True, seconds=HEALTHY_SECONDS / 2, now=0)
    assert known.brisk("a")


def test_whoever_fails_or_takes_its_time_is_not_brisk_any_more() -> None:
    known = EndpointHealth()
    for delivered, seconds in ((False, 0.1), (True, HEALTHY_SECONDS)):
        known.begun("a")
        known.ended("a", delivered=True, seconds=0.1, now=0)
        known.ended("a", delivered=delivered, seconds=seconds, now=0)
        assert not known.brisk("a")


def test_of_many_endpoints_the_last_to_have_had_a_turn_are_remembered() -> None:
    known = EndpointHealth(most=2)
    for endpoint_id in ("a", "b", "a", "c"):
        known.begun(endpoint_id)
    assert [known.last_turn(one) for one in ("a", "b", "c")] == [3, 0, 4]
    known.ended("b", delivered=True, seconds=0.1, now=0)
    assert not known.brisk("b")


def test_whoever_fails_rests_a_little_longer_each_time_and_not_at_all_once_it_takes_something() -> None:
    known = EndpointHealth()
    known.begun("a")
    rests = []
    for _ in range(8):
        known.ended("a", delivered=False, seconds=0.1, now=100)
        rests.append(next(n for n in range(100) if not known.rests("a", now=100 + n)))
    assert rests == [0, 0, 1, 2, 4, 8, 16, 16]
    known.ended("a", delivered=True, seconds=0.1, now=100)
    assert not known.rests("a", now=100)


def test_a_clock_that_is_set_back_keeps_nobody_at_rest() -> None:
    known = EndpointHealth()
    known.begun("a")
    known.ended("a", delivered=False, seconds=0.1, now=100_000)
    assert not known.rests("a", now=100)
