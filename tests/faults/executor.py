"""Run a schedule against a cluster and report every violation."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress

from service.clock import DAY_SECONDS
from tests.faults.checkers.availability import find_unanswered
from tests.faults.checkers.convergence import find_unread, note_open_batches
from tests.faults.checkers.database_reader import DatabaseUnavailable, Row
from tests.faults.checkers.erasure_checks import check_erasures, find_unexpired
from tests.faults.checkers.invariants import check_promises, find_failed_healthy, find_wrong_gpu_seconds
from tests.faults.checkers.stream_checker import StreamChecker
from tests.faults.checkers.violations import History, RequestUnanswered
from tests.faults.cluster.cluster import Cluster
from tests.faults.nemesis import Nemesis
from tests.faults.schedule import Action, Schedule, Step
from tests.faults.workload.batch_user import BatchUser
from tests.faults.workload.leaving_readers import leave_early
from tests.faults.workload.stream_readers import EventReader, ReconnectingReader, SocketReader
from tests.faults.workload.user import JobId, User
from tests.faults.workload.webhook_consumer import Consumer

CONVERGE_SECONDS = 150.0
FAULTY_NETWORK_SECONDS = 5.0
SUPERVISED_SECONDS = 0.5
LOOK_SECONDS = 0.1
LEAVERS = 40


class ScheduleExecutor:
    """Runs one schedule with a user and readers of its own."""

    def __init__(
        self, cluster: Cluster, schedule: Schedule, *, convergence_seconds: float = CONVERGE_SECONDS
    ) -> None:
        """Create the executor.

        `convergence_seconds`: how long jobs may take to end, and readers to be shown it, once all faults are over.
        """
        self.history = History()
        self._cluster = cluster
        self._convergence_seconds = convergence_seconds
        self._schedule = schedule
        self._user_id = f"user-{schedule.name.replace('/', '-')}-{time.time_ns():x}"
        self._bearer = cluster.add_user(self._user_id)
        self._user = User(cluster, self._user_id, self._bearer, self.history)
        self._batch_user = BatchUser(self._user)
        self._consumer = Consumer(cluster, self._user_id, self._user, self.history)
        self._readers: list[ReconnectingReader] = []
        self._began = time.monotonic()
        self._nemesis = Nemesis(cluster, self._user_id, self.history, schedule.name)
        self._chance = random.Random(schedule.name)  # noqa: S311 - chance, not secrecy

    async def run(self) -> list[str]:
        """Return every violation as a sentence."""
        cluster = self._cluster
        cluster.proxy.chance = random.Random(self._schedule.name)  # noqa: S311
        await self._consumer.register(
            self._schedule.behavior,
            random.Random(self._schedule.name),  # noqa: S311
            wants_progress=self._schedule.wants_progress,
        )
        cluster.proxy.network_faults = self._schedule.network_faults
        for kind in (EventReader, SocketReader):
            self._start_reader(kind, None)
        supervising = asyncio.create_task(self._supervise())
        try:
            await self._run_steps()
            await self._check()
        except* RequestUnanswered as unanswered:
            for error in unanswered.exceptions:
                self.history.add_violation(str(error))
        finally:
            supervising.cancel()
            cluster.proxy.network_faults = type(cluster.proxy.network_faults)()
            await asyncio.gather(*(reader.stop() for reader in self._readers))
            cluster.remove_user(self._user_id)
        return self.history.violations

    async def _run_steps(self) -> None:
        """Execute every step, undo lasting faults, and wait until everybody knows how it ended."""
        cluster = self._cluster
        async with asyncio.TaskGroup() as group:
            for step in self._schedule.steps:
                group.create_task(self._execute(step))
        await cluster.restore()
        await self._run_on_faulty_network()
        cluster.proxy.network_faults = type(cluster.proxy.network_faults)()
        self._consumer.accept_everything()
        await cluster.proxy.wait_delivered()
        await self._wait_converged()
        for _ in range(self._schedule.nights):
            await self._nemesis.let_day_pass()
            await self._wait_converged()
        self._start_late_readers()
        await self._wait_converged()

    async def _check(self) -> None:
        """Check the invariants."""
        await self._cluster.callback_checker.wait_checked()
        await check_promises(self._cluster, self._user_id, self.history)
        rows = await self._cluster.database.fetch_user_rows(self._user_id)
        wrong = find_wrong_gpu_seconds(rows, time.monotonic() - self._began)
        for sentence in wrong + (find_failed_healthy(rows) if self._schedule.harmless else []):
            self.history.add_violation(sentence)
        await self._batch_user.check()
        await check_erasures(self._cluster, self._user_id, self.history)
        await self._consumer.check_deliveries()
        for row in rows:
            self.history.count(f"jobs on attempt {row.attempt}")

    async def _supervise(self) -> None:
        """Restart a replica that has exited by itself, for instance because the disk was full at its start.

        Note as well which batches are still open, so that readers from before their end must learn of it.
        """
        while True:
            for replica in self._cluster.replicas:
                if not replica.busy.locked() and not replica.running:
                    self.history.count("a replica ended")
                    replica.start()
            if self.history.batches:
                await note_open_batches(self._cluster.database, self._user_id, self.history)
            await asyncio.sleep(SUPERVISED_SECONDS)

    async def _run_on_faulty_network(self) -> None:
        """Let runs continue for a while: on a slow machine they have only begun after the last step."""
        deadline = time.monotonic() + FAULTY_NETWORK_SECONDS
        while time.monotonic() < deadline:
            with suppress(DatabaseUnavailable):
                if all(row.final for row in await self._cluster.database.fetch_user_rows(self._user_id)):
                    return
            await asyncio.sleep(LOOK_SECONDS)

    def _start_late_readers(self) -> None:
        """Start readers that have seen nothing yet and must be shown the present state."""
        for job_id in sorted(self.history.job_ids):
            for kind in (EventReader, SocketReader):
                self._start_reader(kind, job_id)
        self._start_reader(EventReader, None)

    def _start_reader(self, kind: type[ReconnectingReader], job_id: str | None) -> None:
        name = f"{kind.__name__} {len(self._readers)}"
        cluster = self._cluster
        checker = StreamChecker(
            name, self.history, cluster.database, cluster.objects, replicas=cluster.features.replicas
        )
        reader = kind(name, cluster.proxy.port, self._bearer, job_id, checker)
        self._readers.append(reader)
        reader.start()

    async def _execute(self, step: Step) -> None:
        await asyncio.sleep(step.at)
        self.history.count(step.action)
        match step.action:
            case Action.PAUSE | Action.CUT:
                await self._disturb_reader(step)
            case Action.LEAVE:
                await self._leave(step)
            case Action.SUBMIT:
                self._watch(await self._user.submit(step))
            case Action.BATCH:
                self._watch(*await self._batch_user.submit(step))
            case _ if (act := self._acts.get(step.action)) is not None:
                await act(step.index)
            case _:
                await self._nemesis.execute(step)

    @property
    def _acts(self) -> Mapping[Action, Callable[[int], Awaitable[None]]]:
        """What the user does with exports that were accepted."""
        user, batch_user = self._user, self._batch_user
        return {
            Action.CANCEL: user.cancel,
            Action.RETRY: user.retry,
            Action.PURGE: user.purge,
            Action.CANCEL_BATCH: lambda _: batch_user.cancel(),
            Action.PURGE_BATCH: lambda _: batch_user.purge(),
            Action.CANCEL_ALL: lambda _: batch_user.cancel_all(),
            Action.RETRY_ALL: lambda _: batch_user.retry_all(),
        }

    def _watch(self, *job_ids: JobId) -> None:
        """Check the callbacks of exports, and have readers of their own."""
        for job_id in job_ids:
            if job_id is None:
                continue
            self._cluster.callback_checker.histories[job_id] = self.history
            for kind in (EventReader, SocketReader):
                self._start_reader(kind, job_id)

    async def _leave(self, step: Step) -> None:
        """Let readers of one export, or of all, come and leave at one replica."""
        replica = self._chance.choice(self._cluster.replicas)
        job_ids = sorted(self.history.job_ids)
        job_id = job_ids[step.index % len(job_ids)] if job_ids and self._chance.random() < 0.5 else None
        path = "/api/exports/events" if job_id is None else f"/api/exports/{job_id}/events"
        await leave_early(replica.port, self._bearer, path, LEAVERS, self._chance)

    async def _disturb_reader(self, step: Step) -> None:
        reader = self._readers[self._chance.randrange(len(self._readers))]
        if step.action is Action.CUT:
            reader.cut()
            return
        reader.pause()
        await asyncio.sleep(step.seconds)
        reader.resume()

    async def _wait_converged(self) -> None:
        """Wait until every job has ended and every reader knows it, else record who does not."""
        deadline = time.monotonic() + self._convergence_seconds
        while True:
            missing = await self._find_missing()
            if not missing:
                return
            if time.monotonic() > deadline:
                for sentence in missing:
                    self.history.add_violation(sentence)
                return
            await asyncio.sleep(LOOK_SECONDS)

    async def _find_missing(self) -> list[str]:
        try:
            rows = {row.job_id: row for row in await self._cluster.database.fetch_user_rows(self._user_id)}
        except DatabaseUnavailable as error:
            return [f"the database can't be read: {error}"]
        await self._pass_to_next_day(rows.values())
        missing = [f"job {row.job_id[-6:]} has not ended: {row}" for row in rows.values() if not row.final]
        if self._nemesis.days_passed:
            # replicas that were started since follow a step ahead only after an hour
            now = min(self._cluster.clock.now(), self._nemesis.day_passed_at)
            missing += find_unexpired(list(rows.values()), now)
        for reader in self._readers:
            missing += find_unread(reader, rows, self.history, self._cluster.clock.now())
        missing += await self._consumer.find_missing(list(rows.values()))
        return missing or await find_unanswered(self._cluster, self._bearer)

    async def _pass_to_next_day(self, rows: Iterable[Row]) -> None:
        """Let exports start that wait because the budget of the day is used up."""
        now = self._cluster.clock.now()
        if any(not row.final and (row.held_until or 0.0) > now for row in rows):
            self._cluster.clock.step(DAY_SECONDS)
            self.history.count("budgets used up")
