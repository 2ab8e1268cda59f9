"""In any history, no state arrives after a newer one and every end is delivered."""

from collections import Counter
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callbacks.envelope import EventType, Phase
from infra.database.base import Database
from service.jobs import transitions
from service.webhooks import endpoint_status, endpoints
from service.webhooks.models import DisabledReason
from tests.service.webhooks.replica_pair import Arrival, ReplicaPair
from tests.service.webhooks.webhook_harness import WebhookHarness, open_harness
from tests.support.job_factory import fetch_jobs

ALL = tuple(EventType)
TERMINAL = {kind.value for kind in EventType if kind.is_terminal}
JOBS = ("job-0", "job-1", "job-2")
WANTS = {
    "https://all.example/": ALL,
    "https://usual.example/": endpoints.DEFAULT_EVENTS,
    "https://news.example/": (EventType.PROGRESS,),
    "https://stranger.example/": ALL,
}
MAX_TRIES = 10
"""The number of failures after which a delivery has failed."""

Step = tuple[Any, ...]
_changes = st.sampled_from(["started", "progress", "progress", "completed", "failed", "cancel", "retry"])
_responses = st.sampled_from([(204, {}), (204, {}), (500, {}), (503, {"retry-after": "90"}), (302, {})])
_replica = st.integers(0, 1)
steps = st.one_of(
    st.tuples(st.just("change"), st.sampled_from(JOBS), _changes),
    st.tuples(st.just("rounds"), st.sampled_from([(0,), (1,), (0, 1)])),
    st.tuples(st.just("respond"), st.integers(0, 9), _responses),
    st.tuples(st.just("forward"), st.sampled_from([1, 3, 20, 61, 400, 8_000, 100_000])),
    st.tuples(st.just("set back"), st.sampled_from([1, 61, 8_000, 100_000])),
    st.tuples(st.just("kill"), _replica),
    st.tuples(st.just("stop"), _replica),
    st.tuples(st.just("switch"), st.sampled_from(sorted(WANTS)), st.booleans()),
)


class OrderingModel:
    """Applies the steps of a history and checks the invariants."""

    def __init__(self, harness: WebhookHarness, replicas: ReplicaPair, endpoint_ids: dict[str, str]) -> None:
        self._harness = harness
        self._replicas = replicas
        self._endpoint_ids = endpoint_ids
        self._switched_off: set[str] = set()

    async def apply(self, step: Step) -> None:
        match step:
            case "change", job_id, change:
                await self._change_job(job_id, change)
            case "rounds", which:
                await self._replicas.run_rounds(which)
            case "respond", which, (status, headers):
                await self._replicas.respond(which, status, headers)
            case "forward", seconds:
                await self._replicas.advance(seconds)
            case "set back", seconds:
                self._replicas.set_clock_back(seconds)
            case "kill", which:
                await self._replicas.kill(which)
            case "stop", which:
                await self._replicas.stop(which)
            case "switch", url, on:
                await self._switch(url, on=on)
            case _:
                raise AssertionError(step)

    async def _change_job(self, job_id: str, change: str) -> None:
        row = (await fetch_jobs(self._harness.database))[job_id]
        attempt, step = int(str(row["attempt"])), int(str(row["step"])) + 1
        if change == "retry":
            await self._harness.retry_export(job_id)
        elif change == "cancel":
            async with self._harness.database.transaction() as session:
                await transitions.cancel(session, "ada", job_id, now=self._harness.clock.now)
        else:
            phase = Phase.STARTING if change == "started" else Phase.PROCESSING
            await self._harness.report(
                EventType(f"export.{change}"), job_id, step, attempt=attempt, phase=phase
            )

    async def _switch(self, url: str, *, on: bool) -> None:
        endpoint_id = self._endpoint_ids[url]
        async with self._harness.database.transaction() as session:
            if on:
                await endpoint_status.enable(session, "ada", endpoint_id)
            else:
                self._switched_off.add(endpoint_id)
                await endpoint_status.disable(
                    session, endpoint_id, DisabledReason.BY_USER, now=self._harness.clock.now
                )

    async def check(self) -> None:
        """Check what holds at any time."""
        arrivals, deliveries = self._replicas.arrivals, await self._harness.load_deliveries()
        for order_key in {arrival.order_key for arrival in arrivals}:
            sequences = [arrival.job["sequence"] for arrival in arrivals if arrival.order_key == order_key]
            assert sequences == sorted(sequences), order_key
        assert self._replicas.overlapping == []  # two in flight at once could arrive in any order
        assert all(_is_wanted(arrival) for arrival in arrivals)
        assert all((row["state"] == "pending") == (row["ended_at"] is None) for row in deliveries)
        attempt_counts = Counter(row["delivery_id"] for row in await self._harness.load_attempts())
        assert attempt_counts == Counter(arrival.message_id for arrival in arrivals)

    async def check_final(self) -> None:
        """Check what holds after all receivers have accepted everything."""
        await self.check()
        newest: dict[tuple[object, object], dict[str, object]] = {}
        for row in await self._harness.load_deliveries():  # oldest first
            assert row["state"] != "pending"
            newest[row["endpoint_id"], row["job_id"]] = row
        for row in newest.values():
            if row["type"] in TERMINAL and row["endpoint_id"] not in self._switched_off:
                assert row["state"] == "delivered" or row["tries"] == MAX_TRIES, row


def _is_wanted(arrival: Arrival) -> bool:
    of_another = arrival.url == "https://stranger.example/"
    other_job = arrival.url == "https://news.example/" and arrival.job["job_id"] != "job-0"
    return arrival.type in WANTS[arrival.url] and not of_another and not other_job


@settings(max_examples=20, suppress_health_check=list(HealthCheck))
@given(history=st.lists(steps, min_size=10, max_size=60))
async def test_no_state_arrives_after_a_newer_one_and_every_end_is_delivered(
    any_database: Database, history: list[Step]
) -> None:
    async with open_harness(any_database) as harness:
        endpoint_ids = {}
        for url, wants in WANTS.items():
            of_job = "job-0" if url == "https://news.example/" else None
            user = "bob" if url == "https://stranger.example/" else "ada"
            endpoint = await harness.create_endpoint(url, user=user, events=wants, job_id=of_job)
            endpoint_ids[url] = endpoint.endpoint_id
        for job_id in JOBS:
            await harness.submit_export(job_id)
        replicas = ReplicaPair(harness)
        model = OrderingModel(harness, replicas, endpoint_ids)
        for step in history:
            await model.apply(step)
        await model.check()
        await replicas.deliver_everything()
        await model.check_final()
