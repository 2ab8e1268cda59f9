"""The span of an export, made when it has ended: from its creation to its end, with a span of each phase in it.

The timeline in the database says when each phase began. So the spans are complete even if attempts ran elsewhere,
replicas died, or the export ended in another process than it began in.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from service.jobs.models import Job, Status
from service.jobs.timeline import TimelinePhase

if TYPE_CHECKING:
    from service.tracing.tracer import Tracing


def record_export(tracing: "Tracing", job: Job, phases: Sequence[TimelinePhase]) -> None:
    """Make the spans of an export that has ended, as parts of the request that created it."""
    started_at = job.limits_since or job.created_at
    attributes = {
        "framehook.job_id": job.job_id,
        "framehook.type": job.type,
        "framehook.runner": job.runner,
        "framehook.status": job.status.value,
        "framehook.gpu_seconds": job.gpu_seconds,
    }
    span = tracing.start("export", job.traceparent, attributes, at=started_at)
    for phase in phases:
        phase_started_at = datetime.fromisoformat(phase["started_at"]).timestamp()
        part = tracing.start(
            phase["phase"],
            span.traceparent,
            {"framehook.job_id": job.job_id, "framehook.attempt": phase["attempt"]},
            at=phase_started_at,
        )
        part.end(phase_started_at + phase["seconds"])
    if job.status is Status.ERROR:
        span.fail(job.error_code or "")
    span.end(max(started_at, job.completed_at or started_at))
