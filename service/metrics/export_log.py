"""One line in the log for each change of an export: `framehook.exports`."""

import logging
from collections.abc import Mapping

from service.jobs.models import Job, Status
from service.metrics.exports import ExportChange, duration_of

logger = logging.getLogger("framehook.exports")

_SENTENCES = {
    ExportChange.CREATED: "created",
    ExportChange.STARTED: "started",
    ExportChange.RETRIED: "started again by its owner",
}


def log_change(change: ExportChange, job: Job, loss: str | None) -> None:
    """Log that an export was created or started, or that an attempt was lost and why."""
    fields: dict[str, object] = {"type": job.type, "runner": job.runner}
    if change is ExportChange.ATTEMPT_LOST:
        fields |= {"reason": loss, "next_attempt": job.attempt, "lost_attempt": job.attempt - 1}
        logger.warning(
            "an attempt was lost: %s", loss, extra=_extra(change, job, fields) | {"attempt": job.attempt - 1}
        )
        return
    if change is ExportChange.STARTED and job.spawned_at is not None and job.started_at is not None:
        fields["start_seconds"] = round(max(0.0, job.started_at - job.spawned_at), 3)
    logger.info("%s %s", job.type, _SENTENCES[change], extra=_extra(change, job, fields))


def log_end(job: Job, phases: Mapping[str, float]) -> None:
    """Log how an export ended, how long each phase took, and what it cost."""
    seconds, usd = round(duration_of(job), 3), job.new_usd
    fields: dict[str, object] = {
        "type": job.type,
        "runner": job.runner,
        "status": job.status.value,
        "seconds": seconds,
        "phases": dict(phases),
        "gpu_seconds": round(job.new_gpu_seconds, 3),
        "cost_usd": None if usd is None else round(usd, 6),
    }
    if job.output_size is not None and job.status is Status.COMPLETE:
        fields["output_bytes"] = job.output_size
    if job.error_code is not None:
        fields["code"] = job.error_code
    spent = ", ".join(f"{phase} {taken:.1f} s" for phase, taken in phases.items())
    result = f"{job.status.value} ({job.error_code})" if job.error_code else job.status.value
    extra = _extra(ExportChange.ENDED, job, fields)
    logger.info("%s ended as %s after %.1f s: %s", job.type, result, seconds, spent, extra=extra)


def _extra(change: ExportChange, job: Job, fields: Mapping[str, object]) -> dict[str, object]:
    return {**job.log_fields, "event": change.value, "user": job.user_id, "fields": fields}
