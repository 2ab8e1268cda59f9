"""The columns that an edit of an export sets, from the fields that the client gave."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import case

from service.jobs.metadata import encode_metadata
from service.jobs.models import JOBS


def to_columns(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns for the given ones of `name`, `metadata` and `project_id`.

    The name of a project belongs to it, so another project removes it.
    """
    columns = dict(fields)
    if "metadata" in columns:
        columns["metadata"] = encode_metadata(columns["metadata"])
    if "project_id" in columns:
        columns |= to_project_columns(columns["project_id"])
        is_other = JOBS.c.project_id.is_distinct_from(columns["project_id"])
        columns["project_name"] = case((is_other, None), else_=JOBS.c.project_name)
    return columns


def to_project_columns(project_id: str | int | None) -> dict[str, Any]:
    """Return the columns of a project: its id as text, and as a number if it was given as one."""
    return {
        "project_id": None if project_id is None else str(project_id),
        "project_number": project_id if isinstance(project_id, int) else None,
    }
