"""Measure how long leased jobs have stayed unchanged, by the monotonic clock of this process.

Times in rows come from the wall clock of the replica that wrote them, which can be set, and machines can be suspended.
So no attempt is ended because of them. A lease has expired, or a run is silent or overdue, when this process has seen
it unchanged for that long by its monotonic clock; after a restart it starts counting again. Time in which this process
was suspended counts as one usual round at most, since no run could report to it either.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from service.jobs.leases import WatchedJob
from service.jobs.models import Status
from service.metrics.traffic import Sign

LATE_BY_SECONDS = 60.0
SILENCES_TO_END = 3.0
MIN_SECONDS_TO_END = 60.0
"""Four times as long as a run takes between two reports: it repeats the last one every 15 seconds."""


@dataclass(frozen=True)
class Limits:
    """Limits of dispatching: jobs per user, deadlines, intervals, and what a priority is worth between users."""

    per_user: int
    deadline_seconds: float
    queue_seconds: float
    silence_seconds: float
    stalled_seconds: float = 900.0
    lease_seconds: float = 30.0
    finalize_lease_seconds: float = 15.0
    rescue_interval_seconds: float = 5.0
    priority_seconds: float = 0.0

    @property
    def max_round_seconds(self) -> float:
        """The most time that one round of the rescuer counts for, in seconds."""
        return 2 * self.rescue_interval_seconds + 1

    @property
    def frozen_seconds(self) -> float:
        """How long a run that reports nothing may live where it can be ended."""
        return max(SILENCES_TO_END * self.silence_seconds, MIN_SECONDS_TO_END)


class Stopwatch:
    """Measures how long each aspect of a job has had its current state."""

    def __init__(self, monotonic: Callable[[], float], *, max_round_seconds: float) -> None:
        self._monotonic = monotonic
        self._max_round_seconds = max_round_seconds
        self._read_at = monotonic()
        self._elapsed = 0.0
        self._since: dict[tuple[str, str], tuple[object, float]] = {}

    def begin_round(self) -> None:
        """Add the time since the last round."""
        now = self._monotonic()
        self._elapsed += min(now - self._read_at, self._max_round_seconds)
        self._read_at = now

    def seconds(self, job_id: str, aspect: str, state: object) -> float:
        """Return for how many seconds this aspect of the job has had this state; 0 if it has just changed."""
        known = self._since.get((job_id, aspect))
        if known is None or known[0] != state:
            self._since[job_id, aspect] = (state, self._elapsed)
            return 0.0
        return self._elapsed - known[1]

    def keep_only(self, job_ids: Collection[str]) -> None:
        """Drop the other jobs."""
        self._since = {key: entry for key, entry in self._since.items() if key[0] in job_ids}


@dataclass
class LateJobs:
    """Jobs that the rescuer must handle: leases that expired, runs that are overdue, silent or stuck.

    If the process that published an output has ended, its run is probed like a silent one. `stuck` are runs to end
    where their processes can be ended; `signs` counts those that begin to look like it.
    """

    lapsed: list[WatchedJob] = field(default_factory=list)
    overdue: list[WatchedJob] = field(default_factory=list)
    silent: list[WatchedJob] = field(default_factory=list)
    stuck: list[WatchedJob] = field(default_factory=list)
    signs: Counter[Sign] = field(default_factory=Counter)


class JobObserver:
    """Observes the leased jobs of all replicas and finds the late ones."""

    def __init__(self, limits: Limits, monotonic: Callable[[], float]) -> None:
        self._limits = limits
        self._stopwatch = Stopwatch(monotonic, max_round_seconds=limits.max_round_seconds)

    def find_late(self, held: Sequence[WatchedJob]) -> LateJobs:
        """Do one round: given all leased jobs, return those that are late."""
        self._stopwatch.begin_round()
        self._stopwatch.keep_only({job.job_id for job in held})
        late = LateJobs()
        for job in held:
            is_free = self._is_free(job)
            is_overdue, is_silent = self._is_overdue(job), self._is_silent(job)
            self._find_stuck(job, late)
            if job.is_unstarted:
                if is_free and job.lease_until is not None:
                    late.lapsed.append(job)
            elif is_free and job.finalizer is not None:  # the process that published its output has ended
                late.silent.append(job)
            elif is_free and is_overdue:
                late.overdue.append(job)
            elif is_free and is_silent:
                late.silent.append(job)
        return late

    def _is_free(self, job: WatchedJob) -> bool:
        """Return whether the job has no lease, or one that has expired."""
        seconds = self._stopwatch.seconds(job.job_id, "lease", job.lease_until)
        return job.lease_until is None or seconds >= self._lease_seconds(job)

    def _lease_seconds(self, job: WatchedJob) -> float:
        if job.is_unstarted:
            return self._limits.lease_seconds
        if job.finalizer is not None:
            return self._limits.finalize_lease_seconds
        return self._limits.silence_seconds / 2

    def _is_overdue(self, job: WatchedJob) -> bool:
        stage = (job.attempt, job.status, job.is_unstarted)
        seconds = self._stopwatch.seconds(job.job_id, "stage", stage)
        if job.status is Status.PROCESSING:
            return seconds >= self._limits.deadline_seconds + LATE_BY_SECONDS
        return seconds >= self._limits.queue_seconds

    def _is_silent(self, job: WatchedJob) -> bool:
        return self._silent_seconds(job) >= self._limits.silence_seconds

    def _silent_seconds(self, job: WatchedJob) -> float:
        return self._stopwatch.seconds(job.job_id, "sequence", job.sequence)

    def _find_stuck(self, job: WatchedJob, late: LateJobs) -> None:
        """Add a run that reports nothing, like a process that is stopped, or no progress, like a decoder that hangs."""
        progress = (job.attempt, job.phase, job.progress)
        stalled_seconds = self._stopwatch.seconds(job.job_id, "progress", progress)
        if job.call_id is None or job.finalizer is not None:
            return
        if job.status is Status.PROCESSING:
            late.signs[Sign.SILENT] += self._is_silent(job)
            late.signs[Sign.NO_PROGRESS] += stalled_seconds >= self._limits.stalled_seconds / 2
        is_frozen = self._silent_seconds(job) >= self._limits.frozen_seconds
        if is_frozen or stalled_seconds >= self._limits.stalled_seconds:
            late.stuck.append(job)
