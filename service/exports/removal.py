"""The use cases that delete, in one place."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from service.exports.erasure import Eraser
from service.exports.expiry import Expiry
from service.exports.uploads import UploadService


@dataclass(frozen=True)
class Removal:
    """What deletes exports, uploads and files, on request or when their time is over."""

    eraser: Eraser
    uploads: UploadService
    expiry: Expiry

    @property
    def loops(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """The loops by the names that the log and `/healthz` show."""
        return {"erasures": self.eraser.run, "expiry": self.expiry.run, "announced uploads": self.uploads.run}
