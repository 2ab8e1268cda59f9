"""The time that a run signs with: its machine's, corrected by the service where the two differ by too much."""

from collections.abc import Callable, Mapping
from typing import Final

from callbacks.signing import TIMESTAMP_HEADER

_MAX_DIGITS: Final = 12


class SigningClock:
    """Seconds since 1970, as the service counts them."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._offset_seconds = 0.0

    def time(self) -> float:
        """The time to sign with."""
        return self._now() + self._offset_seconds

    def correct(self, headers: Mapping[str, str]) -> bool:
        """Go by the time that an answer of 401 names, from now on; whether it names one."""
        stated = headers.get(TIMESTAMP_HEADER, "")
        if not (stated.isascii() and stated.isdigit() and len(stated) <= _MAX_DIGITS):
            return False
        self._offset_seconds = int(stated) - self._now()
        return True
