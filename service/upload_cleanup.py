"""Removes uploads that were begun and never completed, once an hour. Safe to run on every replica."""

import asyncio
import logging

from infra.storage import Storage, StorageError

logger = logging.getLogger("framehook.uploads")

ROUND_SECONDS = 3_600.0


class UploadCleanup:
    """What users and runs left unfinished in one storage."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def run(self) -> None:
        """One round after the other, an hour apart; the first at once."""
        while True:
            await self.remove()
            await asyncio.sleep(ROUND_SECONDS)

    async def remove(self) -> int:
        """Remove what can't be completed any more; how many. What fails now is tried again in the next round."""
        try:
            removed = await self._storage.sweep()
        except (StorageError, OSError) as error:
            logger.warning("unfinished uploads could not be removed: %s", error)
            return 0
        if removed:
            logger.info("removed %d unfinished uploads", removed)
        return removed
