"""Endpoints that fail delay the others by little: when rounds are made, and what each of them looks at."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest

from service.metrics.traffic import WebhookMetrics
from service.webhooks.deliveries import ClaimedDelivery
from service.webhooks.models import Delivery, DeliveryState
from service.webhooks.retry_policy import AttemptResult
from service.webhooks.scheduling.agenda import (
    BURST_SECONDS,
    MAX_PAUSE_SECONDS,
    SUSPECT_PAUSE_SECONDS,
    Agenda,
    Round,
)
from service.webhooks.scheduling.attempts import SPREAD_SECONDS, Attempts
from service.webhooks.scheduling.endpoint_health import EndpointHealth
from service.webhooks.scheduling.fairness import InFlight, Occupancy
from service.webhooks.scheduling.ready import LIMITS, ReadyEndpoints
from tests.service.webhooks.webhook_harness import BEGIN, WebhookHarness

ROUND_SECONDS = 0.01
HOSTILE = 300


def run_agenda(agenda: Agenda, seconds: float, *, begin: float = 0.0) -> Counter[Round]:
    """Make rounds of 10 ms for so long, while each kind is asked for all the time; return how many of each."""
    rounds: Counter[Round] = Counter()
    now = begin
    while now < begin + seconds:
        for kind in Round:
            agenda.request(kind, now)
        if (kind_due := agenda.take_due(now)) is None:
            now += 0.001
            continue
        agenda.record_round(kind_due, now, now + ROUND_SECONDS)
        now += ROUND_SECONDS
        rounds[kind_due] += 1
    return rounds


def test_rounds_for_suspects_are_as_rare_however_much_there_is_to_do() -> None:
    rounds = run_agenda(Agenda(), 60)
    for kind in (Round.RESULTS, Round.SUSPECTS):
        assert 60 / (SUSPECT_PAUSE_SECONDS + 0.1) < rounds[kind] <= 60 / SUSPECT_PAUSE_SECONDS


def test_prompt_rounds_leave_the_database_to_others_half_of_the_time() -> None:
    rounds = run_agenda(Agenda(), 60)
    assert rounds[Round.PROMPT] * ROUND_SECONDS == pytest.approx(30, abs=1.5)


def test_a_prompt_round_need_not_wait_for_the_pause_of_a_single_one_before() -> None:
    agenda = Agenda()
    agenda.record_round(Round.PROMPT, 0.0, BURST_SECONDS / 4)
    agenda.request(Round.PROMPT, BURST_SECONDS / 4)
    assert agenda.take_due(BURST_SECONDS / 4) is Round.PROMPT


def test_a_slow_database_makes_no_pause_longer() -> None:
    agenda = Agenda()
    for start in (0.0, 5.0, 10.0):
        agenda.record_round(Round.PROMPT, start, start + 4)
    agenda.request(Round.PROMPT, 14.0)
    assert agenda.seconds_left(14.0) <= MAX_PAUSE_SECONDS + 1e-9


def test_a_prompt_round_comes_before_one_for_suspects_that_has_waited_little_longer() -> None:
    agenda = Agenda()
    agenda.request(Round.RESULTS, 1.0)
    agenda.request(Round.SUSPECTS, 1.0)
    agenda.request(Round.PROMPT, 1.0 + SUSPECT_PAUSE_SECONDS / 2)
    order = [agenda.take_due(1.0 + SUSPECT_PAUSE_SECONDS) for _ in range(4)]
    assert order == [Round.PROMPT, Round.RESULTS, Round.SUSPECTS, None]


def test_what_belongs_to_suspects_is_not_held_up_for_ever() -> None:
    agenda = Agenda()
    agenda.request(Round.RESULTS, 1.0)
    agenda.request(Round.PROMPT, 1.0 + 2 * SUSPECT_PAUSE_SECONDS)
    assert agenda.take_due(1.0 + 2 * SUSPECT_PAUSE_SECONDS) is Round.RESULTS


def test_a_suspect_alone_waits_for_nothing() -> None:
    agenda = Agenda()
    agenda.request(Round.SUSPECTS, 1.0)
    assert agenda.take_due(1.0) is Round.SUSPECTS


def test_the_results_of_successes_are_gathered_as_long_as_a_round_takes() -> None:
    agenda = Agenda()
    agenda.record_round(Round.PROMPT, 0.0, ROUND_SECONDS)
    agenda.request_gathered(1.0)
    assert agenda.seconds_left(1.0) == pytest.approx(ROUND_SECONDS)
    agenda.record_round(Round.PROMPT, 2.0, 3.0)
    agenda.request_gathered(9.0)
    assert agenda.seconds_left(9.0) <= MAX_PAUSE_SECONDS


def record_failure(health: EndpointHealth, endpoint_id: str, *, at: float = BEGIN) -> None:
    health.record_start(endpoint_id)
    health.record_result(endpoint_id, delivered=False, seconds=0.1, now=at)


def record_success(health: EndpointHealth, endpoint_id: str) -> None:
    health.record_start(endpoint_id)
    health.record_result(endpoint_id, delivered=True, seconds=0.1, now=BEGIN)


def occupy(health: EndpointHealth, endpoint_ids: Sequence[str] = (), *, total: int = 128) -> Occupancy:
    """Return the occupancy while an attempt at each of these is in flight."""
    attempts = [InFlight(build_delivery(endpoint_id), 1e12) for endpoint_id in endpoint_ids]
    return Occupancy.measure(attempts, health, total=total, per_endpoint=8)


def build_delivery(endpoint_id: str) -> Delivery:
    fields = dict.fromkeys(Delivery.__struct_fields__)
    return Delivery(**fields | {"endpoint_id": endpoint_id, "state": DeliveryState.PENDING})  # type: ignore[arg-type]


def test_a_prompt_round_looks_at_endpoints_that_respond_only() -> None:
    health = EndpointHealth()
    record_failure(health, "failing")
    record_success(health, "good")
    ready = ReadyEndpoints(health)
    ready.add(["failing", "good", "new"])
    assert ready.take(Round.PROMPT, occupy(health), now=BEGIN) == ["good"]
    assert ready.take(Round.NEW, occupy(health), now=BEGIN) == ["new"]
    assert ready.take(Round.SUSPECTS, occupy(health), now=BEGIN) == ["failing"]
    assert not ready.kinds


def test_an_endpoint_that_has_failed_since_it_was_added_is_a_suspect() -> None:
    health = EndpointHealth()
    ready = ReadyEndpoints(health)
    ready.add(["a"])
    record_failure(health, "a")
    assert ready.take(Round.NEW, occupy(health), now=BEGIN) == []
    assert ready.take(Round.SUSPECTS, occupy(health), now=BEGIN) == ["a"]


@pytest.mark.parametrize("kind", [Round.NEW, Round.SUSPECTS])
def test_new_endpoints_and_suspects_take_turns_a_few_at_a_time(kind: Round) -> None:
    health, names = EndpointHealth(), [f"{number:03}" for number in range(HOSTILE)]
    ready = ReadyEndpoints(health)
    for name in names * (kind is Round.SUSPECTS):
        record_failure(health, name)
    ready.add(names)
    seen: list[str] = []
    while len(seen) < HOSTILE:
        taken = ready.take(kind, occupy(health), now=BEGIN)
        assert len(taken) <= LIMITS[kind]
        seen += taken
        ready.add(names[:1])  # what is added again waits behind the others
    assert seen[:HOSTILE] == names


def test_no_round_looks_at_endpoints_without_a_slot() -> None:
    health = EndpointHealth()
    ready = ReadyEndpoints(health)
    hanging = [f"hang-{number}" for number in range(64)]
    for name in ("failing", *hanging):
        record_failure(health, name)
    record_success(health, "good")
    ready.add(["failing", "new", "good", *hanging])
    full = occupy(health, hanging)
    assert ready.take(Round.SUSPECTS, full, now=BEGIN) == []
    assert ready.take(Round.PROMPT, full, now=BEGIN) == ["good"]
    assert ready.take(Round.NEW, full, now=BEGIN) == []
    assert ready.take(Round.NEW, occupy(health, hanging[1:]), now=BEGIN) == ["new"]


def test_an_endpoint_that_backs_off_is_left_to_the_next_scan() -> None:
    health = EndpointHealth()
    for _ in range(3):
        record_failure(health, "a")
    ready = ReadyEndpoints(health)
    ready.add(["a"])
    assert ready.take(Round.SUSPECTS, occupy(health), now=BEGIN) == []
    assert not ready.kinds


def test_a_limited_endpoint_is_ready_again_at_its_moment() -> None:
    health = EndpointHealth()
    ready = ReadyEndpoints(health)
    ready.delay({"a": BEGIN + 1})
    assert ready.take(Round.NEW, occupy(health), now=BEGIN + 0.9) == []
    assert ready.take(Round.NEW, occupy(health), now=BEGIN + 1) == ["a"]


class SilentSender:
    """Sends to receivers that never respond."""

    async def send(self, _claimed: ClaimedDelivery, *, now: float) -> AttemptResult:
        await asyncio.Event().wait()
        raise AssertionError(now)


async def test_attempts_at_endpoints_that_may_not_respond_start_one_after_the_other() -> None:
    health, names = EndpointHealth(), [f"new-{number}" for number in range(9)]
    record_success(health, "good")
    record_failure(health, "failing")
    sender: Any = SilentSender()
    attempts = Attempts(sender, health, WebhookMetrics(), lambda *_: None, 8, lambda: BEGIN)
    endpoint: Any = None
    for some in (["good", *names[:4], "failing"], [*names[4:], "good"]):
        claimed = [ClaimedDelivery(build_delivery(name), endpoint) for name in some]
        attempts.start(claimed, time.monotonic() + 60)
    starts = [(attempt.delivery.endpoint_id, attempt.at) for attempt in attempts.in_flight]
    assert max(at for name, at in starts if name == "good") <= time.monotonic()
    spread = [at for name, at in starts if name != "good"]
    assert len(spread) == len(names) + 1
    assert all(later - earlier > 0.99 * SPREAD_SECONDS for earlier, later in pairwise(spread))
    await attempts.cancel()


async def test_a_prompt_round_neither_reads_nor_records_what_belongs_to_suspects(
    harness: WebhookHarness,
) -> None:
    good = await harness.create_endpoint()
    hostile = [await harness.create_endpoint(f"https://hostile.example/{number}") for number in range(9)]
    for endpoint in hostile:
        harness.respond_with(500, endpoint.url)
    for endpoint in (good, *hostile):
        await harness.add_backlog(endpoint, 1)
    await harness.worker.run_round()
    await harness.worker.wait_idle()
    assert await count_open_attempts(harness) == 10
    await harness.complete_export("job-new")
    await harness.worker.run_kind(Round.PROMPT)
    await harness.worker.wait_idle()
    received = [str(request.url) for request in harness.received[10:]]
    assert received == [good.url]
    assert await count_open_attempts(harness) == 9 + 1
    await harness.worker.run_kind(Round.RESULTS)
    await harness.worker.run_kind(Round.SUSPECTS)
    await harness.worker.wait_idle()
    assert len(harness.received) == 11 + 9


async def count_open_attempts(harness: WebhookHarness) -> int:
    return sum(row["seconds"] is None for row in await harness.load_attempts())
