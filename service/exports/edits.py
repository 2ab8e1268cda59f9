"""The columns that an edit of an export sets, from the fields that the client gave."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import case

from service.jobs.metadata import encode_metadata
from service.jobs.models import JOBS, Job, Status
from service.jobs.queue.priorities import Priority, compute_queue_time
from service.problems import AlreadyStarted


def to_columns(job: Job, fields: Mapping[str, Any], *, head_start_seconds: float) -> dict[str, Any]:
    """Return the columns for the given ones of `name`, `metadata`, `project_id` and `priority`.

    The name of a project belongs to it, so another project removes it. Raises AlreadyStarted for the priority of a job
    that does not wait any more.
    """
    columns = dict(fields)
    if "metadata" in columns:
        columns["metadata"] = encode_metadata(columns["metadata"])
    if "project_id" in columns:
        columns |= to_project_columns(columns["project_id"])
        is_other = JOBS.c.project_id.is_distinct_from(columns["project_id"])
        columns["project_name"] = case((is_other, None), else_=JOBS.c.project_name)
    if "priority" in columns:
        if job.status is not Status.PENDING:
            raise AlreadyStarted
        waiting_since = job.queue_time + Priority(job.priority).sign * head_start_seconds
        columns["queue_time"] = compute_queue_time(columns["priority"], waiting_since, head_start_seconds)
    return columns


def to_project_columns(project_id: str | int | None) -> dict[str, Any]:
    """Return the columns of a project: its id as text, and as a number if it was given as one."""
    return {
        "project_id": None if project_id is None else str(project_id),
        "project_number": project_id if isinstance(project_id, int) else None,
    }
