"""Runners: start attempts on Modal or in processes of this machine; only this package knows which."""

from service.dispatch.runners.base import (
    CallStatus,
    Failed,
    Finished,
    Runner,
    RunnerNotice,
    RunnerRefused,
    Running,
    Unknown,
)
from service.dispatch.runners.local import LocalRunner
from service.dispatch.runners.readiness import RunnerReadiness

__all__ = [
    "CallStatus",
    "Failed",
    "Finished",
    "LocalRunner",
    "Runner",
    "RunnerNotice",
    "RunnerReadiness",
    "RunnerRefused",
    "Running",
    "Unknown",
]
