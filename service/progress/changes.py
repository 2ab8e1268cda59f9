"""What callbacks change, and what became of each change; the same for every database."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from callbacks.envelope import EventType, Failure, Output, Phase, Report
from service.models import Job, Status

RETRY_PAUSE_SECONDS = 2.0
HIGHEST_UNFINISHED_PROGRESS = 99.9


class Refusal(StrEnum):
    """Why a change was not applied."""

    UNKNOWN = "unknown"
    OVER = "over"


@dataclass(frozen=True)
class Change:
    """A verified callback, and when it came (seconds since the epoch)."""

    type: EventType
    report: Report
    now: float

    @property
    def tick(self) -> bool:
        return self.type is EventType.PROGRESS


@dataclass(frozen=True)
class Applied:
    """The change is in the row, or was before: the row's sequence, and the row itself if this changed it."""

    sequence: int
    job: Job | None = None


Outcome = Applied | Refusal


def rounds(changes: Sequence[Change]) -> Iterator[list[int]]:
    """The order to apply changes in, as indexes: of each attempt's ticks the newest first, then those it overtook."""
    newest: dict[tuple[str, int, str], int] = {}
    for change in changes:
        if change.tick:
            newest[_line(change)] = max(newest.get(_line(change), 0), change.report.step)

    def overtaken(change: Change) -> bool:
        return change.tick and change.report.step < newest[_line(change)]

    yield [index for index, change in enumerate(changes) if not overtaken(change)]
    yield [index for index, change in enumerate(changes) if overtaken(change)]


def _line(change: Change) -> tuple[str, int, str]:
    return change.report.job_id, change.report.attempt, change.report.run


def values_of(change: Change) -> dict[str, object]:
    report = change.report
    values: dict[str, object] = {
        "job_id": report.job_id,
        "attempt": report.attempt,
        "run": report.run,
        "step": report.step,
        "call_id": report.call_id,
        "phase": report.phase.value,
        "progress": min(report.progress, HIGHEST_UNFINISHED_PROGRESS),
        "message": report.message,
        "eta_seconds": report.eta_seconds,
        "gpu_seconds": report.gpu_seconds or 0.0,
        "now": change.now,
        "not_before": change.now + RETRY_PAUSE_SECONDS * 2 ** min(report.attempt, 6),
    }
    if report.output is not None:
        output = report.output
        values |= {"size": output.size, "checksum": output.checksum, "duration": output.duration}
        values |= {"width": output.width, "height": output.height}
    if report.error is not None:
        values |= {"code": report.error.code, "message": report.error.message}
    return values


def refused_as(change: Change, standing: Mapping[str, Any] | None) -> Outcome:
    """Why a change touched no row: the row's attempt, step, sequence and status tell."""
    if standing is None:
        return Refusal.UNKNOWN
    if (standing["attempt"], standing["run"]) != (change.report.attempt, change.report.run):
        return Refusal.OVER
    the_end_itself = change.type.terminal and standing["step"] == change.report.step
    status = Status(standing["status"])
    if status.final and (status is Status.CANCELLED or not the_end_itself):
        return Refusal.OVER
    return Applied(standing["sequence"])


def recovered(job: Job, ending: Output | Failure, gpu_seconds: float, *, now: float) -> Change:
    """What a call's own value tells, as the next step of the job's current run."""
    report = Report(
        job_id=job.job_id,
        attempt=job.attempt,
        run=job.run,
        step=job.step + 1,
        call_id=job.call_id or "unknown",
        phase=Phase.FINALIZING,
        progress=job.progress,
        message="Finished" if isinstance(ending, Output) else ending.message,
        gpu_seconds=gpu_seconds,
        output=ending if isinstance(ending, Output) else None,
        error=ending if isinstance(ending, Failure) else None,
    )
    return Change(EventType.COMPLETED if report.output else EventType.FAILED, report, now)


def lost_output(report: Report) -> Report:
    """The same step, told as the failure that it is: what the run claims to have written is not there."""
    missing = Failure(
        code="output_missing", message="The exported file did not arrive in storage whole.", transient=True
    )
    return Report(
        job_id=report.job_id,
        attempt=report.attempt,
        step=report.step,
        call_id=report.call_id,
        run=report.run,
        phase=Phase.FINALIZING,
        progress=report.progress,
        message=missing.message,
        gpu_seconds=report.gpu_seconds,
        error=missing,
    )
