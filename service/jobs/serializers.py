"""The job as JSON: the same for REST, streams and webhooks."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from callbacks.envelope import format_rfc3339
from service.jobs.models import Job, Status


@dataclass(frozen=True)
class JobSerializer:
    """Serialize jobs; `origin` is the address at which clients reach the service."""

    origin: str

    def to_dict(self, job: Job) -> dict[str, Any]:
        """Return the job object of the wire contract."""
        return {
            "job_id": job.job_id,
            "type": job.type,
            "status": job.status,
            "phase": job.phase,
            "progress": round(job.progress, 1),
            "message": job.message,
            "error": {"code": job.error_code, "message": job.error_message} if job.error_code else None,
            "project_id": job.project_id,
            "attempt": job.attempt,
            "sequence": job.sequence,
            "input_key": job.input_key,
            "output_key": job.output_key,
            "output": self._output(job),
            "created_at": format_timestamp(job.created_at),
            "started_at": format_timestamp(job.started_at),
            "completed_at": format_timestamp(job.completed_at),
            "acknowledged_at": format_timestamp(job.acknowledged_at),
            "eta_seconds": None if job.eta_seconds is None else round(job.eta_seconds, 1),
            "gpu_seconds": round(job.gpu_seconds, 3),
            "runner": job.runner,
            "call_id": job.call_id,
        }

    def to_json(self, job: Job) -> bytes:
        """Return the job object as JSON."""
        return msgspec.json.encode(self.to_dict(job))

    def _output(self, job: Job) -> dict[str, Any] | None:
        if job.status is not Status.COMPLETE:
            return None
        return {
            "size": job.output_size,
            "checksum": job.output_checksum,
            "duration": job.output_duration,
            "width": job.output_width,
            "height": job.output_height,
            "url": f"{self.origin}/api/exports/{job.job_id}/download",
        }


def format_timestamp(at: float | None) -> str | None:
    """Format seconds since the epoch as a time of the wire contract."""
    return None if at is None else format_rfc3339(datetime.fromtimestamp(at, UTC))
