"""Where attempts run: the only place that knows whether that is Modal or a process on this machine."""

from service.dispatch.runners.base import Failed, Finished, Refused, Runner, Running, Standing, Unknown
from service.dispatch.runners.local import LocalRunner
from service.dispatch.runners.readiness import RunnerCheck

__all__ = [
    "Failed",
    "Finished",
    "LocalRunner",
    "Refused",
    "Runner",
    "RunnerCheck",
    "Running",
    "Standing",
    "Unknown",
]
