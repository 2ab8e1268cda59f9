"""Log which origins are refused and the setting that allows them; any page can cause it, so it is limited."""

import logging
import time
from collections.abc import Callable
from typing import Final

logger = logging.getLogger("framehook.origins")

PAUSE_SECONDS: Final = 60.0
"""An origin is logged again after this long."""
MAX_ORIGINS: Final = 20
"""How many different origins are logged within PAUSE_SECONDS."""
MAX_CHARACTERS: Final = 200


class RefusalLog:
    """Refused origins, each logged once a minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._logged_at: dict[tuple[str, str], float] = {}

    def record(self, origin: str, refused: str) -> None:
        """Log that `refused` came from a page of this origin."""
        now = self._clock()
        self._logged_at = {key: at for key, at in self._logged_at.items() if now - at < PAUSE_SECONDS}
        key = (origin[:MAX_CHARACTERS], refused)
        if key in self._logged_at or len(self._logged_at) >= MAX_ORIGINS:
            return
        self._logged_at[key] = now
        printable = "".join(character if character.isprintable() else "?" for character in key[0])
        logger.warning(
            "refused %s of a page of %s; to allow such pages, add this origin to ALLOWED_ORIGINS",
            refused,
            printable,
        )
