"""A span of each call that starts a run."""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from gpu.spec import AttemptSpec

if TYPE_CHECKING:
    from service.tracing.tracer import Tracing


def trace_spawn(tracing: "Tracing", spec: AttemptSpec) -> AbstractContextManager[object]:
    """Return a span of the call, to keep open while it is made."""
    attributes: dict[str, str | int | float] = {
        "framehook.job_id": spec.job_id,
        "framehook.attempt": spec.attempt,
    }
    return tracing.span("spawn", spec.traceparent, attributes, kind="client")
