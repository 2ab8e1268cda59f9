"""Plays a schedule against a world, and tells what was violated."""

import asyncio
import random
import time
from contextlib import AsyncExitStack, suppress

from tests.faults.checkers.availability import unanswered
from tests.faults.checkers.database_reader import OutOfReach
from tests.faults.checkers.finalizing import wait_for_finalizing
from tests.faults.checkers.invariants import ended, ends_well, failed_healthy, wrong_accounts
from tests.faults.checkers.stream_checker import Witness
from tests.faults.checkers.violations import Record, Unanswered
from tests.faults.cluster.cluster import World
from tests.faults.cluster.replicas import kill_run
from tests.faults.schedule import DEATHS, Act, Schedule, Step
from tests.faults.workload.leaving_readers import leave_early
from tests.faults.workload.stream_readers import EventReader, Reader, SocketReader
from tests.faults.workload.user import User
from tests.faults.workload.webhook_consumer import Consumer

CONVERGE_SECONDS = 90.0
WEATHER_SECONDS = 5.0
SUPERVISED_SECONDS = 0.5
LOOK_SECONDS = 0.1
LEAVERS = 40
LONGEST_LIFE_SECONDS = 0.8
"""How long a service lives that is about to be killed, from when it is ready."""


class Play:
    """One schedule, with a user and readers of its own."""

    def __init__(
        self, world: World, schedule: Schedule, *, patience_seconds: float = CONVERGE_SECONDS
    ) -> None:
        """`patience_seconds`: how long jobs may take to end, and readers to know it, once everything is healed."""
        self.record = Record()
        self._world = world
        self._patience_seconds = patience_seconds
        self._schedule = schedule
        self._user_id = f"user-{schedule.name.replace('/', '-')}-{time.time_ns():x}"
        self._bearer = world.move_in(self._user_id)
        self._user = User(world, self._bearer, self.record)
        self._consumer = Consumer(world, self._user_id, self._user, self.record)
        self._readers: list[Reader] = []
        self._began = time.monotonic()
        self._chance = random.Random(schedule.name)  # noqa: S311 - chance, not secrecy

    async def run(self) -> list[str]:
        """Every violation, as a sentence."""
        world = self._world
        world.proxy.chance = random.Random(self._schedule.name)  # noqa: S311
        await self._consumer.move_in(self._schedule.temper, random.Random(self._schedule.name))  # noqa: S311
        world.proxy.weather = self._schedule.weather
        for kind in (EventReader, SocketReader):
            self._read(kind, None)
        supervising = asyncio.create_task(self._supervise())
        try:
            await self._break_and_heal()
            await self._judge()
        except* Unanswered as unanswered:
            for each in unanswered.exceptions:
                self.record.broken(str(each))
        finally:
            supervising.cancel()
            world.proxy.weather = type(world.proxy.weather)()
            await asyncio.gather(*(reader.stop() for reader in self._readers))
            world.move_out(self._user_id)
        return self.record.violations

    async def _break_and_heal(self) -> None:
        """Take every step, undo what is still broken, and wait until everybody knows how it ended."""
        world = self._world
        async with asyncio.TaskGroup() as group:
            for step in self._schedule.steps:
                group.create_task(self._at(step))
        await world.heal()
        await self._weathered()
        world.proxy.weather = type(world.proxy.weather)()
        self._consumer.calm()
        await world.proxy.delivered()
        await self._converged()
        self._come_late()
        await self._converged()

    async def _judge(self) -> None:
        """Hold what is stored against what was promised."""
        await self._world.judge.settled()
        await ends_well(self._world, self._user_id, self.record)
        rows = await self._world.ledger.of_user(self._user_id)
        wrong = wrong_accounts(rows, time.monotonic() - self._began)
        for sentence in wrong + (failed_healthy(rows) if self._schedule.harmless else []):
            self.record.broken(sentence)
        await self._consumer.ends_well(rows)
        for row in rows:
            self.record.count(f"jobs on attempt {row.attempt}")

    async def _supervise(self) -> None:
        """A replica that has ended by itself, since the disk was full at its start, say, is started again."""
        while True:
            for replica in self._world.replicas:
                if not replica.busy.locked() and not replica.running:
                    self.record.count("a replica ended")
                    replica.start()
            await asyncio.sleep(SUPERVISED_SECONDS)

    async def _weathered(self) -> None:
        """Runs go on in bad weather for a while: where a machine is slow, they have hardly begun when all is broken."""
        deadline = time.monotonic() + WEATHER_SECONDS
        while time.monotonic() < deadline:
            with suppress(OutOfReach):
                if all(row.final for row in await self._world.ledger.of_user(self._user_id)):
                    return
            await asyncio.sleep(LOOK_SECONDS)

    def _come_late(self) -> None:
        """Readers who have seen nothing of it all, and must be shown where everything stands."""
        for job_id in list(self.record.accepted.values()):
            for kind in (EventReader, SocketReader):
                self._read(kind, job_id)
        self._read(EventReader, None)

    def _read(self, kind: type[Reader], job_id: str | None) -> None:
        name = f"{kind.__name__} {len(self._readers)}"
        world = self._world
        witness = Witness(name, self.record, world.ledger, world.objects)
        reader = kind(name, world.proxy.port, self._bearer, job_id, witness)
        self._readers.append(reader)
        reader.start()

    async def _at(self, step: Step) -> None:
        await asyncio.sleep(step.at)
        self.record.count(step.act)
        match step.act:
            case Act.SUBMIT | Act.CANCEL | Act.RETRY:
                await self._ask(step)
            case Act.KILL | Act.KILL_FINALIZING | Act.FREEZE:
                await self._replica(step)
            case Act.DEATHS:
                for _ in range(DEATHS):
                    await self._die()
            case Act.KILL_RUN:
                if found := self._world.runs():
                    kill_run(found[step.index % len(found)])
            case Act.DATABASE | Act.CRASH | Act.LINES:
                await self._database(step)
            case Act.DISK:
                await asyncio.to_thread(self._world.disk.fill)
                await asyncio.sleep(step.seconds)
                self._world.disk.empty()
            case Act.CLOCK:
                self._world.clock.step(step.seconds)
            case Act.PAUSE | Act.CUT:
                await self._reader(step)
            case Act.LEAVE:
                await self._leave(step)

    async def _ask(self, step: Step) -> None:
        """What users do."""
        if step.act is Act.CANCEL:
            await self._user.cancel(step.index)
        elif step.act is Act.RETRY:
            await self._user.retry(step.index)
        else:
            job_id = await self._user.submit(step.index, step.word)
            self._world.judge.records[job_id] = self.record
            for kind in (EventReader, SocketReader):
                self._read(kind, job_id)

    async def _replica(self, step: Step) -> None:
        replica = self._world.replicas[step.index % len(self._world.replicas)]
        if step.act is Act.KILL_FINALIZING and await wait_for_finalizing(self._world.ledger, self._user_id):
            self.record.count("kills while an output was published")
        async with replica.busy:
            if step.act is not Act.FREEZE:
                await asyncio.to_thread(replica.kill)
                await asyncio.sleep(step.seconds)
                await asyncio.to_thread(replica.start)
                return
            replica.freeze()
            await asyncio.sleep(step.seconds)
            replica.thaw()

    async def _die(self) -> None:
        """All replicas are killed at once, and come up again."""
        async with AsyncExitStack() as held:
            for replica in self._world.replicas:
                await held.enter_async_context(replica.busy)
            await asyncio.sleep(self._chance.random() * LONGEST_LIFE_SECONDS)
            for replica in self._world.replicas:
                await asyncio.to_thread(replica.kill)
                replica.start()
            await self._world.ready()
        self.record.count("deaths of the service")

    async def _leave(self, step: Step) -> None:
        """Readers of one export, or of all, come and leave at one replica."""
        replica = self._chance.choice(self._world.replicas)
        known = sorted(self.record.accepted.values())
        job_id = known[step.index % len(known)] if known and self._chance.random() < 0.5 else None
        path = "/api/exports/events" if job_id is None else f"/api/exports/{job_id}/events"
        await leave_early(replica.port, self._bearer, path, LEAVERS, self._chance)

    async def _database(self, step: Step) -> None:
        postgres = self._world.postgres
        assert postgres is not None
        async with postgres.busy:
            if step.act is Act.LINES:
                await postgres.cut_lines()
                return
            await postgres.stop(crash=step.act is Act.CRASH)
            await asyncio.sleep(step.seconds)
            await postgres.start()

    async def _reader(self, step: Step) -> None:
        reader = self._readers[self._chance.randrange(len(self._readers))]
        if step.act is Act.CUT:
            reader.cut()
            return
        reader.pause()
        await asyncio.sleep(step.seconds)
        reader.resume()

    async def _converged(self) -> None:
        """Wait until every job has ended and every reader knows it, or note who does not."""
        deadline = time.monotonic() + self._patience_seconds
        while True:
            missing = await self._missing()
            if not missing:
                return
            if time.monotonic() > deadline:
                for sentence in missing:
                    self.record.broken(sentence)
                return
            await asyncio.sleep(LOOK_SECONDS)

    async def _missing(self) -> list[str]:
        try:
            rows = {row.job_id: row for row in await self._world.ledger.of_user(self._user_id)}
        except OutOfReach as error:
            return [f"the database can't be read: {error}"]
        missing = [f"job {row.job_id[-6:]} has not ended: {row}" for row in rows.values() if not ended(row)]
        for reader in self._readers:
            wanted = rows.values() if reader.job_id is None else [rows[reader.job_id]]
            missing += [
                f"{reader.name} does not know the end of job {row.job_id[-6:]}: it holds "
                f"{reader.witness.held.get(row.job_id, {}).get('sequence')}, the row is at {row.sequence}"
                for row in wanted
                if not reader.witness.agrees(row)
            ]
        missing += await self._consumer.missing(list(rows.values()))
        return missing or await unanswered(self._world, self._bearer)
