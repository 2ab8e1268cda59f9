"""The one rule for another attempt: when it may start, what the lost one counts as, and what the job shows."""

from enum import Enum

MAX_INTERRUPTIONS = 20
"""Limit of attempts that may end because the service does: an export that crashes the service must end."""
FIRST_PAUSE_SECONDS = 4.0
LONGEST_PAUSE_SECONDS = 30.0


class Charge(Enum):
    """What a lost attempt counts as: extra attempts, and interruptions."""

    FAILURE = (0, 0)
    """A failure of the export or of its run: it uses up one of the export's attempts."""
    INTERRUPTION = (1, 1)
    """The service ended during the attempt: the export keeps its attempts, up to MAX_INTERRUPTIONS."""
    NOTHING = (1, 0)
    """The runner has no capacity, or the service shuts down: the export keeps its attempts."""

    @property
    def values(self) -> dict[str, object]:
        """The parameters of `transition_sql.REQUEUE` and `transition_sql.ALLOWED`."""
        attempts, interruptions = self.value
        return {"extra_attempts": attempts, "extra_interruptions": interruptions}


def requeue_message(reason: str) -> str:
    """Return what a job shows while it waits for another attempt."""
    return f"{reason} Trying again."


def retry_at(attempt: int, now: float, random: float) -> float:
    """Return when a job may start again after this attempt failed, whether the run or the service reported it.

    The pause doubles with each attempt, up to a limit, since attempts count on over a user's retries. `random`, from 0
    to 1, takes up to half of the pause away, so that jobs which failed together do not start together.
    """
    pause = min(FIRST_PAUSE_SECONDS * 2.0 ** min(attempt - 1, 10), LONGEST_PAUSE_SECONDS)
    return now + pause * (1 - random / 2)
