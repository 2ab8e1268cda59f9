"""Delete uploads that were never completed, once an hour."""

import asyncio
import logging

from infra.storage import Storage, StorageError

logger = logging.getLogger("framehook.uploads")

INTERVAL_SECONDS = 3_600.0


class UploadCleanup:
    """Periodic deletion of abandoned uploads in one storage; safe to run on every replica."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def run(self) -> None:
        """Delete once an hour, first at once."""
        while True:
            await self.delete_abandoned()
            await asyncio.sleep(INTERVAL_SECONDS)

    async def delete_abandoned(self) -> int:
        """Delete uploads that can't be completed any more and return how many.

        Errors are logged; the next run tries again.
        """
        try:
            deleted = await self._storage.abort_abandoned_uploads()
        except (StorageError, OSError) as error:
            logger.warning("abandoned uploads could not be deleted: %s", error)
            return 0
        if deleted:
            logger.info("deleted %d abandoned uploads", deleted)
        return deleted
