"""The row of a new job, from the request for it."""

import msgspec

from gpu.export_types.registry import find_export_type
from service.exports.edits import to_project_columns
from service.exports.models import ExportRequest
from service.jobs.metadata import encode_metadata
from service.jobs.queue.submissions import Submission


def to_submission(job_id: str, user_id: str, request: ExportRequest) -> Submission:
    """Return what is stored of a request; without an `output_key` the output is named by the job."""
    return Submission(
        job_id=job_id,
        user_id=user_id,
        type=request.type,
        config=msgspec.json.encode(request.raw_config).decode(),
        input_key=request.config.input_key,
        output_key=request.config.output_key or f"exports/{job_id}{find_export_type(request.type).suffix}",
        **to_project_columns(request.project_id),
        project_name=request.project_name,
        export_id=request.export_id,
        body_hash=request.body_hash,
        traceparent=request.traceparent,
        request_id=request.request_id,
        name=request.name,
        metadata=encode_metadata(request.metadata),
        priority=request.schedule.priority,
        scheduled_at=request.schedule.not_before,
        start_within_seconds=request.schedule.start_within_seconds,
        deadline_seconds=request.schedule.deadline_seconds,
        max_cost_usd=request.max_cost_usd,
    )
