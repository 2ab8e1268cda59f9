"""The nemesis: what breaks replicas, runs, the database, the disk and the clock."""

import asyncio
import random
from contextlib import AsyncExitStack

from service.clock import DAY_SECONDS
from tests.faults.checkers.finalizing import wait_for_finalizing
from tests.faults.checkers.violations import History
from tests.faults.cluster.cluster import Cluster
from tests.faults.cluster.replicas import kill_run
from tests.faults.schedule import DEATHS, Action, Step

LONGEST_LIFE_SECONDS = 0.8
"""How long a service that will be killed lives after it is ready."""


class Nemesis:
    """Executes the faults of one schedule; each lasts as long as its step says."""

    def __init__(self, cluster: Cluster, user_id: str, history: History, seed: str) -> None:
        self._cluster = cluster
        self._user_id = user_id
        self._history = history
        self._chance = random.Random(seed)  # noqa: S311 - chance, not secrecy
        self.days_passed = 0
        self.day_passed_at = 0.0

    async def execute(self, step: Step) -> None:
        """Cause the fault of this step and end it again."""
        match step.action:
            case Action.KILL | Action.KILL_FINALIZING | Action.FREEZE:
                await self._break_replica(step)
            case Action.DEATHS:
                for _ in range(DEATHS):
                    await self._kill_service()
            case Action.KILL_RUN:
                if pids := self._cluster.list_runs():
                    kill_run(pids[step.index % len(pids)])
            case Action.DATABASE | Action.CRASH | Action.LINES:
                await self._break_database(step)
            case Action.DISK:
                await asyncio.to_thread(self._cluster.disk.fill)
                await asyncio.sleep(step.seconds)
                self._cluster.disk.empty()
            case Action.CLOCK:
                self._cluster.clock.step(step.seconds)
            case _:
                raise ValueError(f"{step.action} is not a fault")

    async def let_day_pass(self) -> None:
        """Set the clock forward by a day; start all replicas again, and kill one while it expires outputs."""
        self._cluster.clock.step(DAY_SECONDS + self._chance.uniform(60, 3_600))
        self.day_passed_at = self._cluster.clock.now()
        for _ in range(2):
            for replica in self._cluster.replicas:
                async with replica.busy:
                    await asyncio.to_thread(replica.kill)
                    replica.start()
            await asyncio.sleep(self._chance.random() * LONGEST_LIFE_SECONDS)
        await self._cluster.wait_ready()
        self.days_passed += 1
        self._history.count("days passed")

    async def _break_replica(self, step: Step) -> None:
        replica = self._cluster.replicas[step.index % len(self._cluster.replicas)]
        if step.action is Action.KILL_FINALIZING and await wait_for_finalizing(
            self._cluster.database, self._user_id
        ):
            self._history.count("kills while an output was published")
        async with replica.busy:
            if step.action is not Action.FREEZE:
                await asyncio.to_thread(replica.kill)
                await asyncio.sleep(step.seconds)
                await asyncio.to_thread(replica.start)
                return
            replica.freeze()
            await asyncio.sleep(step.seconds)
            replica.thaw()

    async def _kill_service(self) -> None:
        """Kill all replicas together and start them again."""
        async with AsyncExitStack() as locks:
            for replica in self._cluster.replicas:
                await locks.enter_async_context(replica.busy)
            await asyncio.sleep(self._chance.random() * LONGEST_LIFE_SECONDS)
            for replica in self._cluster.replicas:
                await asyncio.to_thread(replica.kill)
                replica.start()
            await self._cluster.wait_ready()
        self._history.count("deaths of the service")

    async def _break_database(self, step: Step) -> None:
        postgres = self._cluster.postgres
        assert postgres is not None
        async with postgres.busy:
            if step.action is Action.LINES:
                await postgres.cut_notification_channels()
                return
            await postgres.stop(crash=step.action is Action.CRASH)
            await asyncio.sleep(step.seconds)
            await postgres.start()
