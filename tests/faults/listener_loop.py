"""Break listeners and their service while webhooks are forwarded, and check that none is lost."""

import asyncio
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from tests.faults.checkers.delivery_checks import find_lost_successes, find_needless_attempts
from tests.faults.cluster.postgres import Postgres
from tests.faults.crash_loop import CrashLoop, Log
from tests.faults.crash_plan import EVENTS, USER, Plan
from tests.faults.workload.listener import Attempt, ListenedEndpoint

LISTENER_ENDPOINTS = 3
LISTENER_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
LIFE_SECONDS = 0.5
TEND_SECONDS = 0.1
CREATE_SECONDS = 60.0


class Fault(StrEnum):
    """What breaks: in each turn all of them do, in another order."""

    KILL = "a listener was killed"
    CUT = "the connections of a listener were cut"
    CRASH = "the service was killed"
    RESTART = "the service was restarted"
    SECOND = "a second listener came or went"


class ListenerLoop(CrashLoop):
    """A service whose endpoints are all listened to; both are broken repeatedly."""

    may_succeed_late = True

    def __init__(self, folder: Path, plan: Plan, postgres: Postgres | None, log: Log) -> None:
        super().__init__(folder, plan, postgres, log)
        self._endpoints: list[ListenedEndpoint] = []
        self._faults: list[Fault] = []  # the rest of this turn
        self._tending = asyncio.create_task(self._tend())

    async def close(self) -> None:
        self._tending.cancel()
        with suppress(asyncio.CancelledError):
            await self._tending
        for endpoint in self._endpoints:
            await asyncio.to_thread(endpoint.stop)
            await endpoint.proxy.close()
        await super().close()

    def logs(self) -> str:
        return "\n".join([super().logs(), *(endpoint.tail() for endpoint in self._endpoints)])

    async def _create_endpoint(self, name: str) -> None:
        inbox = self.receiver.add_endpoint(name, self.history, self._respond)
        inbox.set_secret(LISTENER_SECRET)
        url = self.receiver.url(name)
        words = ["--forward", url, "--secret", LISTENER_SECRET, "--events", ",".join(EVENTS)]
        words += ["--token", self._bearer]
        endpoint = ListenedEndpoint(self._folder, name, words, [replica.port for replica in self._replicas])
        await endpoint.proxy.open()
        self._endpoints.append(endpoint)
        async with asyncio.timeout(CREATE_SECONDS):
            while endpoint.endpoint_id is None:
                await asyncio.sleep(TEND_SECONDS)
                listed = (await self._client.request_until("GET", "/api/webhooks", 200)).json()["webhooks"]
                for registered in listed:
                    if registered["description"].endswith(url) and registered["listened_at"]:
                        endpoint.endpoint_id = registered["id"]
                        self._inboxes[registered["id"]] = inbox

    async def _tend(self) -> None:
        """Start listeners again, as their users would, until cancelled."""
        while True:
            for endpoint in self._endpoints:
                for sentence in endpoint.tend():
                    self.history.add_violation(sentence)
            await asyncio.sleep(TEND_SECONDS)

    async def _strike(self) -> None:
        """Break a listener, its connections or a replica while something is being forwarded."""
        self._faults = self._faults or self._chance.sample([*Fault], len(Fault))
        fault, replica = self._faults.pop(), self._chance.choice(self._replicas)
        await replica.wait_ready(self._client.http)
        await asyncio.sleep(min(self._chance.expovariate(1 / LIFE_SECONDS), 2.0))
        await self._wait_for_request()
        endpoint = self._choose_endpoint()
        self.counts["faults with requests under way"] += bool(self.receiver.open_requests)
        match fault:
            case Fault.KILL:
                endpoint.kill_one(self._chance)
            case Fault.CUT:
                self.counts["connections cut"] += endpoint.proxy.cut()
            case Fault.CRASH:
                await asyncio.to_thread(replica.kill)
                await asyncio.to_thread(replica.start)
            case Fault.RESTART:
                await asyncio.to_thread(replica.stop)
                await asyncio.to_thread(replica.start)
            case Fault.SECOND:
                endpoint.wanted = 3 - endpoint.wanted
                if endpoint.wanted == 1:
                    endpoint.kill_one(self._chance)
        self.counts[fault] += 1

    def _choose_endpoint(self) -> ListenedEndpoint:
        """Choose one that is forwarding, if there is any."""
        forwarding = []
        for endpoint in self._endpoints:
            assert endpoint.endpoint_id is not None
            received, answered = self._inboxes[endpoint.endpoint_id].counts
            if received > answered:
                forwarding.append(endpoint)
        return self._chance.choice(forwarding or self._endpoints)

    async def _check(self) -> None:
        await super()._check()
        confirmed: dict[Attempt, float] = {}
        for endpoint in self._endpoints:
            confirmed |= endpoint.confirmed
        _, attempts = await self._database.fetch_deliveries(USER)
        for sentence in (
            *find_lost_successes(attempts, confirmed),
            *find_needless_attempts(attempts, confirmed),
        ):
            self.history.add_violation(sentence)
        self.counts["successes confirmed"] = len(confirmed)
        self.counts["attempts without an answer"] = sum(
            attempt.status is None for logged in attempts.values() for attempt in logged
        )
