"""What one schedule has seen, and everything that must not have been."""

from dataclasses import dataclass, field


class Unanswered(Exception):
    """A request was not answered as it should, however often it was sent."""


@dataclass
class Record:
    """Violations, as sentences; and what was promised to users, to be held against the rows."""

    violations: list[str] = field(default_factory=list)
    accepted: dict[str, str] = field(default_factory=dict)  # idempotency key -> job id
    retried: dict[str, int] = field(default_factory=dict)  # how often a user asked for another attempt
    endings: dict[tuple[str, int], set[int]] = field(default_factory=dict)  # (job, attempt) -> sequences
    counts: dict[str, int] = field(default_factory=dict)

    def broken(self, sentence: str) -> None:
        """Note a violation, each once."""
        if sentence not in self.violations:
            self.violations.append(sentence)

    def count(self, what: str, times: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + times

    def require(self, holds: bool, sentence: str) -> None:
        if not holds:
            self.broken(sentence)
