"""Spans of what the service does for a run: it starts it, publishes its output, and commits its result."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from gpu.spec import AttemptSpec
from service.jobs.models import Job

if TYPE_CHECKING:
    from service.tracing.tracer import Tracing


def trace_spawn(tracing: "Tracing", spec: AttemptSpec) -> AbstractContextManager[object]:
    """Return a span of the call that starts a run, to keep open while it is made."""
    return _start_step(tracing, "spawn", spec.traceparent, spec.job_id, spec.attempt)


def trace_steps(tracing: "Tracing | None") -> Callable[[str, Job], AbstractContextManager[object]]:
    """Return what opens the span of a step that the service takes for a job, by name."""
    if tracing is None:
        return lambda _name, _job: nullcontext()
    return lambda name, job: _start_step(tracing, name, job.traceparent, job.job_id, job.attempt)


def _start_step(
    tracing: "Tracing", name: str, parent: str | None, job_id: str, attempt: int
) -> AbstractContextManager[object]:
    return tracing.span(name, parent, {"framehook.job_id": job_id, "framehook.attempt": attempt})
