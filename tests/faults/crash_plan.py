"""What a crash loop does: exports and endpoints, and how often the service is killed."""

import math
from dataclasses import dataclass

from tests.faults.checkers.delivery_checks import PROGRESS
from tests.faults.workload.simulated_runs import REPORTS

USER = "ada"
CLIP = "clips/match.mp4"
ENDPOINTS = 10
EVENTS = ["export.started", "export.progress", "export.completed", "export.failed", "export.cancelled"]
KEPT_EVENTS = sum(kind != PROGRESS for kind, _ in REPORTS)
"""Events of a job that are delivered whatever comes after them."""


@dataclass(frozen=True)
class Plan:
    """How much is delivered and how often the service is killed; the seed decides when.

    So many `days` pass on the clock of the service. `program` is what a replica runs: a mutation may replace it.
    """

    kills: int
    deliveries: int
    seed: int
    replicas: int = 1
    timeout_seconds: float = 2.0  # after four times as long another replica takes over
    endpoints: int = ENDPOINTS
    days: float = 0.0
    program: tuple[str, ...] = ("tests.faults.cluster.replica_entry:serve_without_runs",)

    @property
    def jobs(self) -> int:
        return math.ceil(self.deliveries / (self.endpoints * KEPT_EVENTS))
