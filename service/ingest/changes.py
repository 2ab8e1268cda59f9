"""The changes that callbacks ask for, their rows and parameters, and their outcomes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from random import random
from typing import Any

import msgspec
from msgspec.structs import replace

from callbacks.envelope import EventType, Failure, Output, Phase, Report
from service.costs.control import Cost
from service.jobs.models import Job, Status
from service.jobs.retry_rule import Charge, requeue_message, retry_at

MAX_UNFINISHED_PROGRESS = 99.9


class Refusal(StrEnum):
    """Why a change was not applied."""

    UNKNOWN = "unknown"
    OVER = "over"
    HELD = "held"
    """Another finalizer verifies and publishes the attempt's output now."""


class Change(msgspec.Struct, frozen=True):
    """A verified callback and when it arrived, in seconds since the epoch.

    `random`, from 0 to 1, is for the pause before another attempt. `finalizer` is set by the finalizer that has
    verified the reported output: the change is refused unless the row names the same one. `stops_run` marks the end of
    a run whose last report was stored and has reached a budget.
    """

    type: EventType
    report: Report
    now: float
    random: float = msgspec.field(default_factory=random)
    finalizer: str | None = None
    stops_run: bool = False

    @property
    def is_tick(self) -> bool:
        """Whether a newer report of the run makes this one irrelevant."""
        return self.type is EventType.PROGRESS

    @property
    def ends_attempt(self) -> bool:
        """Whether the run reports its output or its failure."""
        return self.report.output is not None or self.report.error is not None

    def loss_in(self, job: Job) -> str | None:
        """Return why the change has put the job back to pending; None if it has not."""
        return self.report.error.code if self.report.error and job.status is Status.PENDING else None


class ProgressRow(msgspec.Struct, frozen=True):
    """A report that does not end its attempt: a row of the table `reported`."""

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
    """The row contains the change, now or from before; `sequence` is the row's.

    `user_id` and `cost` are set if this changed the row, `job` if the change returned the row. If `stops_run`, it has
    ended the export, whose run goes on until it learns of it.
    """

    sequence: int
    user_id: str | None = None
    job: Job | None = None
    cost: Cost | None = None
    stops_run: bool = False


Outcome = Applied | Refusal


def outcome_from(job: Job, *, stops_run: bool = False) -> Applied:
    """Return the outcome of a change that returned this job."""
    cost = Cost(job.cost_usd, job.max_cost_usd, job.counted_usd)
    return Applied(job.sequence, job.user_id, job, cost, stops_run)


def group_by_job(changes: Sequence[Change]) -> list[dict[str, int]]:
    """Return the order in which to apply changes, as groups of indexes by job id.

    A group has one change of a job at most. Of a run's ticks the newest comes first, then the outdated ones.
    """
    by_job = {change.report.job_id: index for index, change in enumerate(changes)}
    if len(by_job) == len(changes):
        return [by_job]
    groups: list[dict[str, int]] = []
    next_group: Counter[str] = Counter()
    for index in _newest_first(changes):
        job_id = changes[index].report.job_id
        if next_group[job_id] == len(groups):
            groups.append({})
        groups[next_group[job_id]][job_id] = index
        next_group[job_id] += 1
    return groups


def _newest_first(changes: Sequence[Change]) -> list[int]:
    newest: dict[tuple[str, int, str], int] = {}
    for change in changes:
        if change.is_tick:
            newest[_run_key(change)] = max(newest.get(_run_key(change), 0), change.report.step)

    def is_outdated(index: int) -> bool:
        change = changes[index]
        return change.is_tick and change.report.step < newest[_run_key(change)]

    return sorted(range(len(changes)), key=is_outdated)


def _run_key(change: Change) -> tuple[str, int, str]:
    return change.report.job_id, change.report.attempt, change.report.run


def to_row(change: Change) -> ProgressRow:
    """Convert a report that does not end its attempt."""
    report = change.report
    return ProgressRow(
        report.job_id,
        report.attempt,
        report.run,
        report.step,
        report.call_id,
        report.phase.value,
        min(report.progress, MAX_UNFINISHED_PROGRESS),
        report.message,
        report.eta_seconds,
        report.gpu_seconds or 0.0,
        change.now,
    )


def to_parameters(change: Change) -> dict[str, object]:
    """Return the parameters of the statements that end an attempt."""
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


def explain_refusal(change: Change, state: Mapping[str, Any] | None) -> Outcome:
    """Return why a change touched no row, from the state of its job's row; None for no row."""
    if state is None:
        return Refusal.UNKNOWN
    if change.finalizer is not None and _is_newer(change.report, state):
        return Refusal.HELD
    if (state["attempt"], state["run"]) != (change.report.attempt, change.report.run):
        return Refusal.OVER
    if state["call_id"] not in (None, change.report.call_id):
        return Refusal.OVER
    is_repeated_end = change.type.is_terminal and not change.stops_run and state["step"] == change.report.step
    status = Status(state["status"])
    if status.is_final and (status is Status.CANCELLED or not is_repeated_end):
        return Refusal.OVER
    return Applied(state["sequence"])


def _is_newer(report: Report, state: Mapping[str, Any]) -> bool:
    """Tell whether the report could change the row if no other finalizer had its lease."""
    return (
        not Status(state["status"]).is_final
        and state["attempt"] == report.attempt
        and state["call_id"] in (None, report.call_id)
        and (state["run"], state["step"]) < (report.run, report.step)
    )


def change_from_result(job: Job, result: Output | Failure, gpu_seconds: float, *, now: float) -> Change:
    """Return the result of a call as a change: the next step of the job's current run."""
    report = Report(
        job_id=job.job_id,
        attempt=job.attempt,
        run=job.run,
        step=job.step + 1,
        call_id=job.call_id or "unknown",
        phase=Phase.FINALIZING,
        progress=job.progress,
        message="Finished" if isinstance(result, Output) else result.message,
        gpu_seconds=gpu_seconds,
        output=result if isinstance(result, Output) else None,
        error=result if isinstance(result, Failure) else None,
    )
    return Change(EventType.COMPLETED if report.output else EventType.FAILED, report, now)


def stop_run(change: Change, failure: Failure) -> Change:
    """Return the end of the run whose report was stored as this change."""
    report = replace(change.report, message=failure.message, output=None, error=failure)
    return replace(change, type=EventType.FAILED, report=report, stops_run=True)


def with_lost_output(report: Report, failure: Failure) -> Report:
    """Return the report of the same step as a failure: the output that it names is not at its key."""
    return replace(report, phase=Phase.FINALIZING, message=failure.message, output=None, error=failure)
