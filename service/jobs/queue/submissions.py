"""Requests for exports as they are stored: pending jobs."""

from dataclasses import dataclass

from callbacks.envelope import Phase
from service.jobs.models import Job, Status
from service.jobs.queue.priorities import Priority, compute_queue_time


@dataclass(frozen=True)
class Submission:
    """A validated request for an export."""

    job_id: str
    user_id: str
    type: str
    config: str
    input_key: str
    output_key: str
    project_id: str | None = None
    project_number: int | None = None
    project_name: str | None = None
    export_id: str | None = None
    body_hash: str | None = None
    traceparent: str | None = None
    request_id: str | None = None
    name: str | None = None
    metadata: str | None = None
    priority: Priority = Priority.NORMAL
    scheduled_at: float | None = None
    start_within_seconds: float | None = None
    deadline_seconds: float | None = None
    expires_at: float | None = None
    work: str | None = None
    forecast_seconds: float | None = None
    forecast_high_seconds: float | None = None
    batch_id: str | None = None
    max_cost_usd: float | None = None


def to_pending_job(
    submission: Submission, *, runner: str, attempt_limit: int, head_start_seconds: float = 0.0, now: float
) -> Job:
    """Return the job of a request, as `insert_all` stores it.

    `head_start_seconds` is what a high priority is worth among the user's own jobs.
    """
    waiting_since = max(now, submission.scheduled_at or 0.0)
    return Job(
        **submission.__dict__,
        not_before=submission.scheduled_at or 0.0,
        limits_since=waiting_since,
        queue_time=compute_queue_time(submission.priority, waiting_since, head_start_seconds),
        status=Status.PENDING,
        phase=Phase.QUEUED,
        message="Waiting in the queue",
        runner=runner,
        attempt_limit=attempt_limit,
        created_at=now,
    )
