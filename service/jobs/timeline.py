"""A job's timeline for users: its transitions, the seconds of each phase, and the cost."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, TypedDict

from callbacks.envelope import Phase
from service.jobs.models import Job, Status
from service.jobs.serializers import format_timestamp

COLD_START = "cold_start"


class TimelineEvent(TypedDict):
    """A transition of an export."""

    job_id: str
    sequence: int
    at: str
    attempt: int
    status: Status
    phase: Phase
    progress: float
    message: str


class TimelinePhase(TypedDict):
    """The seconds of a phase; `cold_start` is the time between the start of a call and its first report."""

    phase: str
    attempt: int
    started_at: str
    seconds: float


class Timeline(TypedDict):
    """What an export went through, its GPU seconds, and their price in US dollars if the GPU has one."""

    events: list[TimelineEvent]
    phases: list[TimelinePhase]
    gpu_seconds: float
    estimated_cost_usd: float | None


def build_timeline(job: Job, events: Sequence[Mapping[str, Any]], *, now: float) -> Timeline:
    """Return transitions, phases with their seconds, GPU seconds and the cost in US dollars."""
    return {
        "events": [_to_timeline_event(event) for event in events],
        "phases": list_phases(events, now=None if job.status.is_final else now),
        "gpu_seconds": round(job.gpu_seconds, 3),
        "estimated_cost_usd": None if job.cost_usd is None else round(job.cost_usd, 6),
    }


def _to_timeline_event(event: Mapping[str, Any]) -> TimelineEvent:
    return {
        "job_id": event["job_id"],
        "sequence": event["sequence"],
        "at": format_timestamp(event["at"]),
        "attempt": event["attempt"],
        "status": event["status"],
        "phase": event["phase"],
        "progress": event["progress"],
        "message": event["message"],
    }


def list_phases(events: Sequence[Mapping[str, Any]], *, now: float | None) -> list[TimelinePhase]:
    """Return each phase between two transitions, in order; the current one lasts until `now`.

    A phase during which the wall clock was set back has zero seconds.
    """
    ends = [later["at"] for _, later in pairwise(events)] + ([now] if now is not None else [])
    return [
        {
            "phase": _phase_name(event),
            "attempt": event["attempt"],
            "started_at": format_timestamp(event["at"]),
            "seconds": round(max(0.0, end - event["at"]), 3),
        }
        for event, end in zip(events, ends, strict=False)
    ]


def _phase_name(event: Mapping[str, Any]) -> str:
    """Return the event's phase, or COLD_START for a spawned call that has not reported yet."""
    waiting = event["status"] == Status.PENDING and event["phase"] == Phase.STARTING
    return COLD_START if waiting else str(event["phase"])
