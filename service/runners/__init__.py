"""Where attempts run: the only place that knows whether that is Modal or a process on this machine."""

from service.runners.base import Failed, Finished, Refused, Runner, Running, Standing, Unknown
from service.runners.checked import RunnerCheck
from service.runners.local import LocalRunner

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
