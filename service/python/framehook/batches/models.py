"""Responses about many exports at once."""

from datetime import datetime

import msgspec

from framehook.webhook_models import Endpoint


class BatchExport(msgspec.Struct, frozen=True, kw_only=True):
    """An export of a batch; `webhook` is the endpoint of its `webhook_url`, with its secret."""

    job_id: str
    export_id: str | None = None
    webhook: Endpoint | None = None


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch: `counts` has how many of its `total` exports are in each status, `progress` is in percent.

    At `completed_at` all had ended for the first time. `exports` are in the order of the request, in the answer to the
    creation alone.
    """

    batch_id: str
    name: str | None = None
    metadata: dict[str, str | bool | int | float] = {}
    total: int
    counts: dict[str, int]
    progress: float
    cost_usd: float | None = None
    created_at: datetime
    completed_at: datetime | None = None
    exports: tuple[BatchExport, ...] = ()

    @property
    def is_final(self) -> bool:
        """Tell whether all exports have ended; a retry of one starts the batch again."""
        return not (self.counts.get("pending") or self.counts.get("processing"))


class BatchPage(msgspec.Struct, frozen=True):
    """One page of batches, newest first."""

    batches: tuple[Batch, ...]
    next_cursor: str | None = None


class ChangedExports(msgspec.Struct, frozen=True):
    """How many exports were in a state that can be changed, and how many of them were changed."""

    matched: int
    changed: int
    next_cursor: str | None = None
