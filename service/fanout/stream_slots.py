"""Bounds on open streams: per user, and in all. Server-Sent Events and WebSockets count together."""

from collections import Counter


class StreamSlots:
    """Counts the streams that are open."""

    def __init__(self, per_user: int, in_all: int) -> None:
        self._per_user = per_user
        self._in_all = in_all
        self._open: Counter[str] = Counter()

    def try_acquire(self, user_id: str) -> bool:
        """Count one more stream of the user; whether the bounds allow it."""
        if self._open[user_id] >= self._per_user or self._open.total() >= self._in_all:
            return False
        self._open[user_id] += 1
        return True

    def release(self, user_id: str) -> None:
        """A stream that was counted has ended."""
        self._open[user_id] -= 1
        if not self._open[user_id]:
            del self._open[user_id]
