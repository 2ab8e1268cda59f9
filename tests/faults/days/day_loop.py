"""Kill a service repeatedly while days pass on its clock, and receivers are down for hours of them."""

import asyncio
import time
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path

from tests.faults.checkers.database_reader import DatabaseUnavailable
from tests.faults.checkers.delivery_checks import OutboxRow, find_late_retries
from tests.faults.checkers.inbox_checker import ReceivedWebhook
from tests.faults.cluster.postgres import Postgres
from tests.faults.crash_loop import LOOK_SECONDS, CrashLoop, Log
from tests.faults.crash_plan import USER, Plan
from tests.faults.days.outages import DAY_SECONDS, HOUR_SECONDS, Outages, draw_outages
from tests.faults.days.policy_checks import (
    EndpointState,
    find_early_retries,
    find_wrong_disabling,
    is_given_up_by_rule,
)
from tests.faults.workload.webhook_receiver import Respond, ResponsePlan

END_SECONDS = 600.0
WORK_SECONDS = 5.0
LONGEST_END_SECONDS = 60 * HOUR_SECONDS
"""After the last delay of the schedule nothing may be left. On a busy machine an attempt may fail once more although
its receiver is up again, so the longest one is allowed twice."""
LEASE_TIMEOUTS = 4


class DayLoop(CrashLoop):
    """A service that is killed repeatedly while its clock is set ahead, by as much each time as makes up the days."""

    request_seconds = 1.0

    def __init__(self, folder: Path, plan: Plan, postgres: Postgres | None, log: Log) -> None:
        super().__init__(folder, plan, postgres, log)
        seconds = plan.days * DAY_SECONDS
        cuts = sorted(self._chance.uniform(0, seconds) for _ in range(plan.kills - 1))
        self._steps = [after - before for before, after in zip([0.0, *cuts], [*cuts, seconds], strict=True)]
        self._owed_seconds = 0.0
        self._is_down_for_long = False
        self._endpoints: dict[str, EndpointState] = {}

    def _plan_responses(self, name: str) -> Respond:
        number = int(name.rpartition("-")[2])
        outages = draw_outages(number, self.clock.now(), self.plan.days * DAY_SECONDS, self._chance)
        return partial(self._respond_in_outages, outages)

    def _respond_in_outages(self, outages: Outages, _arrival: ReceivedWebhook, _times: int) -> ResponsePlan:
        return outages.respond(self.clock.now(), self._chance)

    async def _strike(self) -> None:
        """Kill, and let time pass or not: with one replica while it runs or is down, with several while all are down.

        A lease that ends at once, while its replica goes on, would let another replica send the same delivery.
        """
        self._owed_seconds += self._steps.pop()
        moment = self._chance.choice(["running", "down", "never"])
        if len(self._replicas) > 1:
            await super()._strike()
            if moment == "down":
                await self._restart_all()
            return
        if moment == "running":
            self._pass_time()
        if self._chance.random() < 0.3:
            await self._work_off()
        self._is_down_for_long = moment == "down"
        await super()._strike()

    def _spend_downtime(self) -> None:
        if self._is_down_for_long:
            self._pass_time()

    async def _work_off(self) -> None:
        """Wait until nothing is due, so that failures of all receivers are recorded, but not for long."""
        deadline = time.monotonic() + WORK_SECONDS
        while time.monotonic() < deadline:
            with suppress(DatabaseUnavailable):
                rows = await self._database.fetch_outbox(USER)
                if not any(row.state == "pending" and row.next_at <= self.clock.now() for row in rows):
                    return
            await asyncio.sleep(LOOK_SECONDS / 5)

    def _pass_time(self) -> None:
        if self._owed_seconds:
            self.clock.step(self._owed_seconds)
            self._owed_seconds = 0.0

    async def _restart_all(self) -> None:
        for replica in self._replicas:
            await asyncio.to_thread(replica.kill)
        self._pass_time()
        for replica in self._replicas:
            await asyncio.to_thread(replica.start)

    async def _wait_all_sent(self) -> None:
        """Let the rest of the time pass, then go from one retry to the next, with all receivers up again."""
        await self._restart_all()
        begun, deadline = self.clock.now(), time.monotonic() + END_SECONDS
        while time.monotonic() < deadline and self.clock.now() < begun + LONGEST_END_SECONDS:
            pending = [row for row in await self._database.fetch_outbox(USER) if row.state == "pending"]
            if not pending and not self.receiver.open_requests:
                break
            for sentence in find_late_retries(pending, self.clock.now()):
                self.history.add_violation(sentence)
            ahead = min((row.next_at for row in pending), default=0.0) - self.clock.now()
            if ahead > LEASE_TIMEOUTS * self.plan.timeout_seconds and not self.receiver.open_requests:
                self.clock.step(ahead)
            await asyncio.sleep(LOOK_SECONDS / 5)
        self.counts["simulated hours"] = round(self.clock.ahead / HOUR_SECONDS)

    async def _check(self) -> None:
        self._endpoints = await self._read_endpoints()
        self._disabled = {name for name, endpoint in self._endpoints.items() if endpoint.disabled_reason}
        self.counts["endpoints disabled"] = len(self._disabled)
        await super()._check()
        outbox, attempts = await self._database.fetch_deliveries(USER)
        for sentence in find_early_retries(outbox, attempts):
            self.history.add_violation(sentence)
        for name, endpoint in self._endpoints.items():
            own_attempts = [
                each
                for row in outbox
                if row.endpoint_id == name
                for each in attempts.get(row.delivery_id, ())
            ]
            for sentence in find_wrong_disabling(endpoint, own_attempts):
                self.history.add_violation(sentence)
        self.counts["most failures of a delivery"] = max(row.tries for row in outbox)

    async def _read_endpoints(self) -> dict[str, EndpointState]:
        listed = (await self._client.request_until("GET", "/api/webhooks", 200)).json()["webhooks"]
        return {
            item["id"]: EndpointState(
                item["id"],
                _epoch(item["created_at"]),
                item["disabled_reason"],
                item["disabled_at"] and _epoch(item["disabled_at"]),
            )
            for item in listed
        }

    def _check_end(self, row: OutboxRow, *, arrived: bool) -> None:
        if is_given_up_by_rule(row, self._endpoints[row.endpoint_id]):
            self.counts["given up by the rule"] += 1
        else:
            super()._check_end(row, arrived=arrived)


def _epoch(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()
