"""What happened in one schedule, and every violation of a promise."""

from dataclasses import dataclass, field


class RequestUnanswered(Exception):
    """A request got no acceptable answer, however often it was sent."""


@dataclass
class History:
    """Violations as sentences, and the promises made to users that the invariants check."""

    violations: list[str] = field(default_factory=list)
    accepted: dict[str, str] = field(default_factory=dict)  # idempotency key -> job id
    retried: dict[str, int] = field(default_factory=dict)  # how often a user asked for another attempt
    endings: dict[tuple[str, int], set[int]] = field(default_factory=dict)  # (job, attempt) -> sequences
    counts: dict[str, int] = field(default_factory=dict)

    def add_violation(self, sentence: str) -> None:
        """Record a violation, once."""
        if sentence not in self.violations:
            self.violations.append(sentence)

    def count(self, what: str, times: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + times

    def require(self, holds: bool, sentence: str) -> None:
        if not holds:
            self.add_violation(sentence)
