"""The time that a run signs with: its machine's clock, corrected if the service rejects a timestamp."""

from collections.abc import Callable, Mapping
from typing import Final

from callbacks.signing import TIMESTAMP_HEADER

_MAX_DIGITS: Final = 12


class SigningClock:
    """Seconds since 1970 by the clock of the service."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._offset_seconds = 0.0

    def time(self) -> float:
        """Return the time to sign with."""
        return self._now() + self._offset_seconds

    def correct(self, headers: Mapping[str, str]) -> bool:
        """Adopt the time in the headers of a 401 response; return whether there is one."""
        stated = headers.get(TIMESTAMP_HEADER, "")
        if not (stated.isascii() and stated.isdigit() and len(stated) <= _MAX_DIGITS):
            return False
        self._offset_seconds = int(stated) - self._now()
        return True
