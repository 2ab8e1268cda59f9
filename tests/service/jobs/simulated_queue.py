"""A queue of exports on a database: users, a number of slots, and a clock that the test moves."""

from collections import defaultdict
from dataclasses import replace
from typing import Any

from callbacks.envelope import EventType
from infra.database.base import Database
from service.dispatch.attempt_failures import AttemptFailure, end_attempt
from service.ingest.batch_writer import BatchWriter
from service.jobs import leases, transitions
from service.jobs.models import Job
from tests.support import job_factory

LEASE_SECONDS = 30.0


class Queue:
    """Users, their exports and a number of slots, with a clock that the test moves."""

    def __init__(self, database: Database, slots: int, *, per_user: int = 100) -> None:
        self.database = database
        self.slots = slots
        self.per_user = per_user
        self.now = 1_000_000.0
        self.submitted: dict[str, list[str]] = defaultdict(list)
        self.running: dict[str, Job] = {}
        self.started: list[Job] = []
        self._writer = BatchWriter(database, job_factory.FakeChanges())

    async def submit(self, user: str, count: int = 1, **columns: Any) -> Job:
        """Submit exports and return the last one; `columns` replace those of a usual one."""
        async with self.database.transaction() as session:
            for _ in range(count):
                job_id = f"job-{sum(map(len, self.submitted.values())):06d}"
                submission = replace(job_factory.submission_for(job_id, user), **columns)
                values: dict[str, Any] = {"runner": "local", "attempt_limit": 9, "now": self.now}
                job = await transitions.submit(session, submission, **values)
                self.submitted[user].append(job_id)
        return job

    async def claim(self) -> list[Job]:
        """Start as many exports as there are free slots."""
        async with self.database.transaction() as session:
            claimed = await leases.claim(
                session,
                slots=self.slots - len(self.running),
                per_user=self.per_user,
                lease_seconds=LEASE_SECONDS,
                now=self.now,
            )
            for job in claimed:
                await leases.record_spawn(session, job, f"call-{job.attempt}", now=self.now)
        self.running |= {job.job_id: job for job in claimed}
        self.started += claimed
        return claimed

    async def report(self, job_id: str, step: int, gpu_seconds: float) -> None:
        """Let the run report how long it has worked by its own clock."""
        kind, attempt = EventType.PROGRESS, self.running[job_id].attempt
        report = job_factory.build_change(kind, job_id, attempt, step, now=self.now, gpu_seconds=gpu_seconds)
        await job_factory.write_changes(self._writer, report)

    async def complete(self, job_id: str) -> None:
        job = self.running.pop(job_id)
        end = job_factory.build_change(EventType.COMPLETED, job_id, job.attempt, 9, now=self.now)
        await job_factory.write_changes(self._writer, end)

    async def lose(self, job_id: str) -> None:
        """Let the run fail; its export waits before it may start again."""
        failure = AttemptFailure("broken", "It broke.", retryable=True)
        async with self.database.transaction() as session:
            await end_attempt(session, self.running.pop(job_id), failure, now=self.now, jitter=0)

    async def work(self, seconds: float) -> list[str]:
        """Complete all running exports after some seconds, start others and return their users."""
        self.now += seconds
        for job_id in list(self.running):
            await self.complete(job_id)
        return [job.user_id for job in await self.claim()]
