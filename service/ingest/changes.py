"""What callbacks change, and what became of each change; the same for every database."""

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from random import random
from typing import Any

import msgspec
from msgspec.structs import replace

from callbacks.envelope import EventType, Failure, Output, Phase, Report
from service.jobs.models import Job, Status
from service.jobs.transition_sql import Charge, requeue_message, retry_at

HIGHEST_UNFINISHED_PROGRESS = 99.9


class Refusal(StrEnum):
    """Why a change was not applied."""

    UNKNOWN = "unknown"
    OVER = "over"
    HELD = "held"
    """Somebody else verifies and publishes the attempt's output now."""


class Change(msgspec.Struct, frozen=True):
    """A verified callback, and when it came (seconds since the epoch).

    `random`, from 0 to 1, is for the pause before another attempt. `finalizer` is set by whoever has looked at the
    output that the report names: the change is refused unless the row names the same.
    """

    type: EventType
    report: Report
    now: float
    random: float = msgspec.field(default_factory=random)
    finalizer: str | None = None

    @property
    def is_tick(self) -> bool:
        return self.type is EventType.PROGRESS

    @property
    def ends_attempt(self) -> bool:
        return self.report.output is not None or self.report.error is not None


class ProgressRow(msgspec.Struct, frozen=True):
    """What a change that does not end its attempt says, column by column of the table `reported`."""

    job_id: str
    attempt: int
    run: str
    step: int
    call_id: str
    phase: str
    progress: float
    message: str
    eta_seconds: float | None
    gpu_seconds: float
    now: float


class Applied(msgspec.Struct, frozen=True):
    """The change is in the row, or was before: the row's sequence.

    If this changed the row: whose job it is, and the job itself where the change was a transition.
    """

    sequence: int
    user_id: str | None = None
    job: Job | None = None


Outcome = Applied | Refusal


def applied_from(job: Job) -> Applied:
    """What became of the change that left a job like this."""
    return Applied(job.sequence, job.user_id, job)


def group_by_job(changes: Sequence[Change]) -> list[dict[str, int]]:
    """The order to apply changes in, as indexes by job; each group names a job once.

    Of each attempt's ticks the newest goes first, then those that it overtook.
    """
    once = {change.report.job_id: index for index, change in enumerate(changes)}
    if len(once) == len(changes):
        return [once]
    found: list[dict[str, int]] = []
    places: Counter[str] = Counter()
    for index in _newest_first(changes):
        job_id = changes[index].report.job_id
        if places[job_id] == len(found):
            found.append({})
        found[places[job_id]][job_id] = index
        places[job_id] += 1
    return found


def _newest_first(changes: Sequence[Change]) -> list[int]:
    newest: dict[tuple[str, int, str], int] = {}
    for change in changes:
        if change.is_tick:
            newest[_line(change)] = max(newest.get(_line(change), 0), change.report.step)

    def overtaken(index: int) -> bool:
        change = changes[index]
        return change.is_tick and change.report.step < newest[_line(change)]

    return sorted(range(len(changes)), key=overtaken)


def _line(change: Change) -> tuple[str, int, str]:
    return change.report.job_id, change.report.attempt, change.report.run


def to_row(change: Change) -> ProgressRow:
    report = change.report
    return ProgressRow(
        report.job_id,
        report.attempt,
        report.run,
        report.step,
        report.call_id,
        report.phase.value,
        min(report.progress, HIGHEST_UNFINISHED_PROGRESS),
        report.message,
        report.eta_seconds,
        report.gpu_seconds or 0.0,
        change.now,
    )


def to_parameters(change: Change) -> dict[str, object]:
    """The parameters of the statements that end an attempt."""
    report = change.report
    values: dict[str, object] = {
        "job_id": report.job_id,
        "attempt": report.attempt,
        "run": report.run,
        "step": report.step,
        "call_id": report.call_id,
        "message": report.message,
        "gpu_seconds": report.gpu_seconds or 0.0,
        "now": change.now,
        "finalizer": change.finalizer,
        "not_before": retry_at(report.attempt, change.now, change.random),
        **Charge.FAILURE.values,
    }
    if report.output is not None:
        output = report.output
        values |= {"size": output.size, "checksum": output.checksum, "duration": output.duration}
        values |= {"width": output.width, "height": output.height}
    if report.error is not None:
        reason = report.error.message
        values |= {"code": report.error.code, "message": reason, "requeue_message": requeue_message(reason)}
    return values


def refusal_from(change: Change, standing: Mapping[str, Any] | None) -> Outcome:
    """Why a change touched no row: the row's attempt, step, call, sequence and status tell."""
    if standing is None:
        return Refusal.UNKNOWN
    if change.finalizer is not None and _is_newer(change.report, standing):
        return Refusal.HELD
    if (standing["attempt"], standing["run"]) != (change.report.attempt, change.report.run):
        return Refusal.OVER
    if standing["call_id"] not in (None, change.report.call_id):
        return Refusal.OVER
    the_end_itself = change.type.is_terminal and standing["step"] == change.report.step
    status = Status(standing["status"])
    if status.is_final and (status is Status.CANCELLED or not the_end_itself):
        return Refusal.OVER
    return Applied(standing["sequence"])


def _is_newer(report: Report, standing: Mapping[str, Any]) -> bool:
    """Whether the report could change the row, were it not for whoever verifies and publishes an output."""
    return (
        not Status(standing["status"]).is_final
        and standing["attempt"] == report.attempt
        and standing["call_id"] in (None, report.call_id)
        and (standing["run"], standing["step"]) < (report.run, report.step)
    )


def change_from_result(job: Job, ending: Output | Failure, gpu_seconds: float, *, now: float) -> Change:
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


def with_lost_output(report: Report, failure: Failure) -> Report:
    """Return the report of the same step as a failure: the output that it names is not at its key."""
    return replace(report, phase=Phase.FINALIZING, message=failure.message, output=None, error=failure)
