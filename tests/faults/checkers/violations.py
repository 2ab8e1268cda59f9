"""What happened in one schedule, and every violation of a promise."""

import time
from dataclasses import dataclass, field


class RequestUnanswered(Exception):
    """A request got no acceptable answer, however often it was sent."""


@dataclass
class Removal:
    """The erasure of an export or a batch: when it was first asked for, and when it was answered (monotonic)."""

    asked_at: float
    answered_at: float | None = None


@dataclass
class AcceptedBatch:
    """A batch that was accepted, with the ids of its exports.

    `open_at` is when the database last showed it without an end (monotonic).
    """

    batch_id: str
    job_ids: tuple[str, ...]
    open_at: float = 0.0


@dataclass
class History:
    """Violations as sentences, and the promises made to users that the invariants check."""

    violations: list[str] = field(default_factory=list)
    accepted: dict[str, str] = field(default_factory=dict)  # idempotency key -> job id
    batches: dict[str, AcceptedBatch] = field(default_factory=dict)  # by batch id
    removals: dict[str, Removal] = field(default_factory=dict)  # by the id of the export or batch
    retried: dict[str, int] = field(default_factory=dict)  # how often a user asked for another attempt
    endings: dict[tuple[str, int], set[int]] = field(default_factory=dict)  # (job, attempt) -> sequences
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def job_ids(self) -> set[str]:
        """All exports that were accepted, alone or in a batch."""
        of_batches = {job_id for batch in self.batches.values() for job_id in batch.job_ids}
        return of_batches | set(self.accepted.values())

    def begin_removal(self, object_id: str) -> Removal:
        """Note that an export or a batch may be gone from now on."""
        return self.removals.setdefault(object_id, Removal(time.monotonic()))

    def is_erased(self, object_id: str) -> bool:
        """Tell whether an erasure was answered."""
        removal = self.removals.get(object_id)
        return removal is not None and removal.answered_at is not None

    def add_violation(self, sentence: str) -> None:
        """Record a violation, once."""
        if sentence not in self.violations:
            self.violations.append(sentence)

    def count(self, what: str, times: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + times

    def require(self, holds: bool, sentence: str) -> None:
        if not holds:
            self.add_violation(sentence)
