"""What each waiting job waits for, kept in memory as of the last look at the queue."""

from infra.database.base import Database
from service.clock import Clock
from service.dispatch.observation import Limits
from service.dispatch.runners import Runner, RunnerReadiness
from service.jobs.models import Job, Status
from service.jobs.queue.head import QueueHead, read_head
from service.jobs.queue.observed_waits import ObservedWaits
from service.jobs.queue.places import Capacity, Limit, Place, Places, foresee_places
from service.jobs.serializers import QueuePlace


class QueueBoard:
    """The head of the queue of all users, as of the last look; a lookup costs no query."""

    def __init__(
        self,
        database: Database,
        runner: Runner,
        readiness: RunnerReadiness,
        limits: Limits,
        clock: Clock,
        waits: ObservedWaits,
    ) -> None:
        self._database = database
        self._runner = runner
        self._readiness = readiness
        self._limits = limits
        self._clock = clock
        self._waits = waits
        self._capacity = Capacity(runner.max_runs, limits.per_user, limits.priority_seconds)
        self._places = foresee_places(QueueHead(clock.wall()), self._capacity)

    @property
    def places(self) -> Places:
        """The places as of the last look."""
        return self._places

    @property
    def outage_reason(self) -> str | None:
        """Why no export can be started at all, for people; None if some can."""
        outage = self._readiness.outage
        return None if outage is None else outage.reason

    async def refresh(self) -> None:
        """Look at the queue now."""
        async with self._database.reading() as session:
            head = await read_head(
                session, priority_seconds=self._limits.priority_seconds, now=self._clock.wall()
            )
        self._places = foresee_places(head, self._capacity)
        self._waits.observe(head, self._places)

    def describe(self, job: Job) -> QueuePlace | None:
        """Return what the job waits for; None if it does not wait."""
        if job.status is not Status.PENDING:
            return None
        now = self._clock.wall()
        place = self.find_place(job)
        seconds = None if place.seconds is None else max(0.0, place.seconds - (now - self._places.at))
        limited_by = self._describe_limit(place.limit)
        if job.not_before > now:
            pause = job.not_before - now
            seconds = pause if seconds is None else max(pause, seconds)
            limited_by = _describe_pause(job)
        elif self.outage_reason is not None and job.call_id is None:
            seconds, limited_by = None, self.outage_reason
        return {
            "position": place.position,
            "ahead_seconds": None if seconds is None else round(seconds, 1),
            "limited_by": limited_by,
        }

    def find_place(self, job: Job) -> Place:
        """Return the place of a pending job as of the last look, or an estimate."""
        known, starting_count = self._places.by_job.get(job.job_id), self._places.starting_count
        if known is not None and (job.call_id is None or known.position <= starting_count):
            return known
        if job.call_id is not None:  # claimed since the last look
            return Place(starting_count + 1, 0.0)
        return self._places.estimate(job.job_id, job.user_id)

    def _describe_limit(self, limit: Limit | None) -> str | None:
        if limit is Limit.RUNNER:
            return self._runner.busy_reason
        if limit is Limit.OWN_RUNS:
            count = self._limits.per_user
            return "your other run" if count == 1 else f"your {count} runs"
        return None


def _describe_pause(job: Job) -> str:
    """Return why the job may not start before a time: its client's wish, or what ended the last attempt."""
    if job.not_before == job.scheduled_at:
        return "the time in not_before"
    if job.not_before == job.held_until:
        return "the budget of the next day"
    return job.message.partition(". ")[0].removesuffix(".")
