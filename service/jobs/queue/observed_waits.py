"""How long jobs waited that were foreseen to wait: what the spread of such forecasts is learned from."""

from collections.abc import Callable
from typing import NamedTuple

from service.jobs.queue.head import QueueHead
from service.jobs.queue.places import Places

SHORTEST_SECONDS = 5.0
"""Shorter waits say more of the moment of the look than of the queue."""

OnWait = Callable[[float, float], None]
"""Takes how long a wait was foreseen to be, and how long it was."""


class _ForeseenWait(NamedTuple):
    at: float
    seconds: float


class ObservedWaits:
    """Compares the first place of each job near the head with its start; holds no more jobs than the head."""

    def __init__(self, on_wait: OnWait) -> None:
        self._on_wait = on_wait
        self._waits: dict[str, _ForeseenWait] = {}

    def observe(self, head: QueueHead, places: Places) -> None:
        """Note who waits now, and what came of those who waited before."""
        for slot in head.slots:
            wait = self._waits.pop(slot.job_id, None)
            if wait is not None:
                self._on_wait(wait.seconds, max(0.0, slot.since - wait.at))
        taken = {slot.job_id for slot in head.slots}
        self._waits = {
            job_id: self._waits.get(job_id) or _ForeseenWait(head.at, place.seconds)
            for job_id, place in places.by_job.items()
            if job_id in self._waits or (place.seconds or 0.0) >= SHORTEST_SECONDS
            if place.seconds is not None and job_id not in taken
        }
