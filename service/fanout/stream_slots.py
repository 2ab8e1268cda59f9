"""Limit open streams, per user and in total.

Server-Sent Events and WebSockets count together.
"""

from collections import Counter


class StreamSlots:
    """Counter of the open streams."""

    def __init__(self, per_user: int, total: int) -> None:
        self._per_user = per_user
        self._total = total
        self._open: Counter[str] = Counter()
        self._open_count = 0  # their sum; adding them up would cost as much as there are users

    def try_acquire(self, user_id: str) -> bool:
        """Count one more stream of the user; return False if a limit is reached."""
        if self._open[user_id] >= self._per_user or self._open_count >= self._total:
            return False
        self._open[user_id] += 1
        self._open_count += 1
        return True

    def release(self, user_id: str) -> None:
        """Stop counting a stream that has ended."""
        self._open[user_id] -= 1
        self._open_count -= 1
        if not self._open[user_id]:
            del self._open[user_id]
