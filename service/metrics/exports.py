"""Counters of exports and their attempts, by what this process has committed."""

from collections.abc import Iterable, Mapping
from enum import StrEnum

from callbacks.envelope import Phase
from service.jobs.models import Job, Status
from service.metrics.groups import (
    SECONDS_TO_HOURS,
    LabelLimit,
    MetricGroup,
    create_counter,
    create_histogram,
)

MAX_TRACE_ID = 32


class ExportChange(StrEnum):
    """What operators count and read of an export, as the name of the event in the log."""

    CREATED = "export.created"
    STARTED = "export.started"
    ATTEMPT_LOST = "export.attempt_lost"
    RETRIED = "export.retried"
    ENDED = "export.ended"


def classify_change(job: Job, loss: str | None) -> ExportChange | None:
    """Return what a committed change means; None for what is no transition, or a new phase.

    `loss` is why the attempt before was lost, if it was.
    """
    if job.sequence != job.transition_sequence:
        return None
    if job.status.is_final:
        return ExportChange.ENDED
    if job.sequence == 1:
        return ExportChange.CREATED
    if loss is not None:
        return ExportChange.ATTEMPT_LOST
    if job.status is Status.PROCESSING:
        # The first report of an attempt sets both.
        return ExportChange.STARTED if job.started_at == job.heartbeat_at else None
    return ExportChange.RETRIED if job.phase is Phase.QUEUED else None


class ExportMetrics(MetricGroup):
    """What became of exports in this process; with several replicas each change is counted by one of them."""

    def __init__(self) -> None:
        kind = ("type", "runner")
        self.created = create_counter("exports_created", "Exports created", *kind)
        self.started = create_counter("attempts_started", "Attempts whose run has reported", *kind)
        self.lost = create_counter(
            "attempts_lost",
            "Attempts that ended without a result, after which the export waits again",
            *kind,
            "reason",
        )
        self.retried = create_counter("exports_retried", "Exports that their owners started again", *kind)
        self.ended = create_counter(
            "exports_ended", "Exports that ended, by status and error code", *kind, "status", "code"
        )
        self.seconds = create_histogram(
            "export_duration_seconds",
            "From the creation of an export, or its retry, or the time it was scheduled for, to its end",
            *kind,
            "status",
            bounds=SECONDS_TO_HOURS,
        )
        self.phase_seconds = create_histogram(
            "export_phase_duration_seconds",
            "Time that an export spent in a phase, over all its attempts, counted at its end",
            "phase",
            "runner",
            bounds=SECONDS_TO_HOURS,
        )
        self.gpu_seconds = create_counter(
            "gpu_seconds",
            "Time that the runs of exports took which ended, with a GPU where the runner has one",
            *kind,
        )
        self.cost = create_counter(
            "gpu_cost_usd", "Price of the GPU seconds in US dollars, 0 without a GPU or a known price", *kind
        )
        self._codes, self._reasons = LabelLimit(), LabelLimit()

    def prepare(self, types: Iterable[str], runner: str) -> None:
        """Begin the usual series at zero, so that their first increase is one."""
        for name in types:
            for metric in (self.created, self.started, self.retried, self.gpu_seconds, self.cost):
                metric.labels(name, runner)
            for status in (Status.COMPLETE, Status.CANCELLED):
                self.ended.labels(name, runner, status, "")

    def count(self, change: ExportChange, job: Job, loss: str | None) -> None:
        """Count a committed change."""
        kind = (job.type, job.runner)
        match change:
            case ExportChange.CREATED:
                self.created.labels(*kind).inc()
            case ExportChange.STARTED:
                self.started.labels(*kind).inc()
            case ExportChange.ATTEMPT_LOST:
                self.lost.labels(*kind, self._reasons.limit(loss or "")).inc()
            case ExportChange.RETRIED:
                self.retried.labels(*kind).inc()
            case ExportChange.ENDED:
                self.ended.labels(*kind, job.status, self._codes.limit(job.error_code or "")).inc()

    def observe_end(self, job: Job, phases: Mapping[str, float]) -> None:
        """Observe how long an export took, what it used and what it cost, since its latest retry if there was one.

        Exemplars name the export and its trace.
        """
        kind, exemplar = (job.type, job.runner), exemplar_of(job)
        self.seconds.labels(*kind, job.status).observe(duration_of(job), exemplar)
        for phase, seconds in phases.items():
            self.phase_seconds.labels(phase, job.runner).observe(seconds, exemplar)
        self.gpu_seconds.labels(*kind).inc(job.new_gpu_seconds)
        self.cost.labels(*kind).inc(job.new_usd or 0.0)


def duration_of(job: Job) -> float:
    """Return the seconds from the creation, the retry or the scheduled time of an export to its end."""
    return max(0.0, (job.completed_at or 0.0) - (job.limits_since or job.created_at))


def exemplar_of(job: Job) -> dict[str, str]:
    """Return the labels of an exemplar, which belongs to one value and makes no series."""
    exemplar = {"job_id": job.job_id}
    if job.traceparent is not None:
        exemplar["trace_id"] = job.traceparent.split("-")[1][:MAX_TRACE_ID]
    return exemplar
