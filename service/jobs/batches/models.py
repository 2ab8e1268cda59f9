"""The table of batches, and `ExportBatch`: its rows."""

from typing import Final

import msgspec
from sqlalchemy import Index, Table, text
from sqlmodel import SQLModel

from service.jobs.columns import LongText, PrimaryKey, partial_index, table_columns

BATCH_PREFIX: Final = "batch_"
CLOSED: Final = 0.0
"""`completed_at` of a batch whose purge began before its exports had ended: it gets no `batch.completed`."""


class ExportBatch(msgspec.Struct, frozen=True, kw_only=True):
    """Exports that were submitted together: a row of `export_batches`, whose columns are these fields.

    `exports` is how many there were. At `completed_at` the last of them had ended for the first time; it never changes
    after that, so that `batch.completed` is sent once. `metadata` is JSON.
    """

    batch_id: PrimaryKey
    user_id: str
    name: str | None = None
    metadata: LongText | None = None
    exports: int
    created_at: float
    completed_at: float | None = None


BATCHES: Final = Table(
    "export_batches",
    SQLModel.metadata,
    *table_columns(ExportBatch),
    Index("ix_export_batches_user", "user_id", "batch_id"),
    partial_index(
        "ix_export_batches_completed", "user_id", "completed_at", where=text("completed_at IS NOT NULL")
    ),
)
BATCH_COLUMNS: Final = ", ".join(ExportBatch.__struct_fields__)
