"""The tables of jobs, and `Job`: a row of `export_jobs` as it was after a change."""

from enum import StrEnum
from typing import Annotated, Final

import msgspec
from sqlalchemy import Column, ColumnElement, Index, Table, Text, literal_column, text
from sqlmodel import Field, SQLModel

from callbacks.envelope import EventType, Phase
from service.jobs.columns import (
    BigInt,
    FloatFromZero,
    IntFromZero,
    LongText,
    PrimaryKey,
    partial_index,
    table_columns,
)
from service.jobs.queue.priorities import Priority


class Status(StrEnum):
    """pending → processing → complete | error | cancelled; the last three are final."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETE = "complete"
    ERROR = "error"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self in FINAL


NormalPriority = Annotated[Priority, msgspec.Meta(extra={"server_default": Priority.NORMAL})]
"""For a column that was added to a table with rows."""

CostFromZero = Annotated[float, msgspec.Meta(extra={"server_default": "0"})] | None

ACTIVE = (Status.PENDING, Status.PROCESSING)
FINAL = (Status.COMPLETE, Status.ERROR, Status.CANCELLED)
_IS_ACTIVE = text("status IN ('pending', 'processing')")
_HAS_PROJECT = text("project_id IS NOT NULL")
_HAS_BATCH = text("batch_id IS NOT NULL")
_IS_ACTIVE_IN_BATCH = text("batch_id IS NOT NULL AND status IN ('pending', 'processing')")
_HAS_EXPORT_ID = text("export_id IS NOT NULL")
_WAS_EDITED = text("edited_at IS NOT NULL")
_HAS_TIME_LIMIT = text(
    "(start_within_seconds IS NOT NULL OR deadline_seconds IS NOT NULL) AND completed_at IS NULL"
)
_CAN_EXPIRE = text("expires_at IS NOT NULL AND status = 'complete' AND expiry_step < 2")
_IS_UNSEEN = text("completed_at IS NOT NULL AND acknowledged_at IS NULL")

# The exact text of the partial indexes, without parameters: otherwise no database uses the indexes. No type
# either: with one, SQLite's dialect compares the boolean with 1.
IS_ACTIVE: ColumnElement[bool] = literal_column(_IS_ACTIVE.text)
HAS_TIME_LIMIT: ColumnElement[bool] = literal_column(_HAS_TIME_LIMIT.text)
EXPIRY_ANNOUNCED, EXPIRED = 1, 2  # values of `expiry_step`
IS_UNSEEN: ColumnElement[bool] = literal_column(_IS_UNSEEN.text)
CAN_EXPIRE: ColumnElement[bool] = literal_column(_CAN_EXPIRE.text)


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """An export: a row of `export_jobs`, whose columns are these fields (see `table_columns`).

    Times are seconds since the epoch (UTC), progress is in percent. `gpu_seconds` sums all runs of all attempts;
    `gpu_seconds_before` all but the latest run. `call_id` is the call that the runner started, and `reported_call_id`
    the one that the newest report named. `finalizer` names the replica's task that verifies and publishes the output
    now; only that task may end the attempt by what it finds. `interruptions` counts the attempts that ended because
    the service did; `attempt_limit` grows by each. `project_id` is always text; a client that gave an integer has it in
    `project_number`, too. `export_id` is the id that the client chose, with the hash of the body that it came with.
    At `expires_at` the file is deleted; `expiry_step` says what was done of that. `batch_id` is the batch that it was
    submitted with.
    `name` and `metadata`, which is JSON, are the client's; `edited_at` is when it last changed them or the project.

    `queue_time` orders a user's waiting jobs. The first attempt starts at `scheduled_at` at the earliest.
    `start_within_seconds` and `deadline_seconds` count from `limits_since`. `first_started_at` is when an attempt
    before the latest one started.

    `cost_usd` sums all runs like `gpu_seconds`, at the price of each attempt (`usd_per_second`);
    None if one was unknown.
    `counted_gpu_seconds` and `counted_usd` are what `usage_days` has of a job that had ended before it was retried.
    Until `held_until` the job waits for a budget.
    """

    job_id: PrimaryKey
    user_id: str
    type: str
    config: LongText
    project_id: str | None = None
    project_number: BigInt | None = None
    project_name: str | None = None
    export_id: str | None = None
    body_hash: str | None = None
    input_key: str
    output_key: str
    status: Status
    phase: Phase
    progress: float = 0.0
    message: LongText = ""
    error_code: str | None = None
    error_message: LongText | None = None
    output_size: BigInt | None = None
    output_checksum: str | None = None
    output_duration: float | None = None
    output_width: int | None = None
    output_height: int | None = None
    attempt: int = 1
    attempt_limit: int = 3
    run: str = ""
    step: int = 0
    sequence: int = 1
    transition_sequence: int = 1
    runner: str
    call_id: str | None = None
    lease_until: float | None = None
    finalizer: str | None = None
    not_before: float = 0.0
    heartbeat_at: float | None = None
    spawned_at: float | None = None
    created_at: float
    started_at: float | None = None
    completed_at: float | None = None
    acknowledged_at: float | None = None
    eta_seconds: float | None = None
    gpu_seconds: float = 0.0
    gpu_seconds_before: FloatFromZero = 0.0
    reported_call_id: str | None = None
    interruptions: IntFromZero = 0
    traceparent: str | None = None
    request_id: str | None = None
    name: str | None = None
    metadata: LongText | None = None
    edited_at: float | None = None
    priority: NormalPriority = Priority.NORMAL
    queue_time: FloatFromZero = 0.0
    scheduled_at: float | None = None
    start_within_seconds: float | None = None
    deadline_seconds: float | None = None
    limits_since: FloatFromZero = 0.0
    first_started_at: float | None = None
    expires_at: float | None = None
    expiry_step: IntFromZero = 0
    batch_id: str | None = None
    work: LongText | None = None
    forecast_seconds: float | None = None
    forecast_high_seconds: float | None = None
    max_cost_usd: float | None = None
    usd_per_second: float | None = None
    cost_usd: CostFromZero = 0.0
    counted_gpu_seconds: float | None = None
    counted_usd: FloatFromZero = 0.0
    held_until: float | None = None

    @property
    def project(self) -> str | int | None:
        """The project id as the client gave it."""
        return self.project_id if self.project_number is None else self.project_number

    @property
    def has_expired(self) -> bool:
        """Whether the file was deleted because its time was over."""
        return self.expiry_step >= EXPIRED

    @property
    def log_fields(self) -> dict[str, object]:
        """The `extra` of a log record about this attempt."""
        return {"job": self.job_id, "attempt": self.attempt}

    @property
    def has_just_ended(self) -> bool:
        """Whether the last change was the end of the job."""
        return self.status.is_final and self.sequence == self.transition_sequence

    @property
    def new_gpu_seconds(self) -> float:
        """The GPU seconds of all runs since the job ended before; of all its runs if this is its first end."""
        return max(0.0, self.gpu_seconds - (self.counted_gpu_seconds or 0.0))

    @property
    def new_usd(self) -> float | None:
        """What these runs have cost in US dollars; None if the price of a run of the job is unknown."""
        return None if self.cost_usd is None else max(0.0, self.cost_usd - self.counted_usd)

    @property
    def was_edited_after_end(self) -> bool:
        """Whether the last change was an edit, made after the end of the job."""
        return self.status.is_final and self.sequence > self.transition_sequence

    @property
    def event_type(self) -> EventType:
        """The event that announces this state, on streams and in webhooks, to one who does not know its end yet."""
        if self.status in _TERMINAL_EVENTS:
            return _TERMINAL_EVENTS[self.status]
        started = self.status is Status.PROCESSING and self.phase is Phase.STARTING
        # A run may report several times in its first phase; only the transition itself is the start.
        is_transition = self.sequence == self.transition_sequence
        return EventType.STARTED if started and is_transition else EventType.PROGRESS


COLUMNS: Final = ", ".join(Job.__struct_fields__)
"""The select list from which `to_job` reads a job."""

_TERMINAL_EVENTS = {
    Status.COMPLETE: EventType.COMPLETED,
    Status.ERROR: EventType.FAILED,
    Status.CANCELLED: EventType.CANCELLED,
}

JOBS: Final = Table(
    "export_jobs",
    SQLModel.metadata,
    *table_columns(Job),
    Index("ix_export_jobs_user", "user_id", "job_id"),
    Index("ix_export_jobs_user_status", "user_id", "status", "job_id"),
    Index("ix_export_jobs_user_completed", "user_id", "completed_at"),
    Index("ix_export_jobs_output", "user_id", "output_key"),
    partial_index("ix_export_jobs_project", "user_id", "project_id", "job_id", where=_HAS_PROJECT),
    partial_index("ix_export_jobs_batch", "user_id", "batch_id", "job_id", where=_HAS_BATCH),
    partial_index("ix_export_jobs_batch_totals", "batch_id", "status", where=_HAS_BATCH),
    partial_index("ix_export_jobs_batch_active", "batch_id", where=_IS_ACTIVE_IN_BATCH),
    partial_index("ux_export_jobs_export_id", "user_id", "export_id", where=_HAS_EXPORT_ID, unique=True),
    partial_index("ix_export_jobs_edited", "user_id", "edited_at", where=_WAS_EDITED),
    partial_index("ix_export_jobs_expiring", "expires_at", where=_CAN_EXPIRE),
    partial_index("ix_export_jobs_unseen", "user_id", "job_id", where=_IS_UNSEEN),
    partial_index("ix_export_jobs_active", "status", "user_id", "job_id", where=_IS_ACTIVE),
    partial_index("ix_export_jobs_queue", "status", "user_id", "queue_time", "job_id", where=_IS_ACTIVE),
    partial_index("ix_export_jobs_time_limits", "job_id", where=_HAS_TIME_LIMIT),
)


class ExportEvent(SQLModel, table=True):
    """A transition in the timeline of a job: submitted, started, a new phase or attempt, the end."""

    __tablename__ = "export_events"

    job_id: str = Field(primary_key=True)
    sequence: int = Field(primary_key=True)
    at: float = Field(index=True)
    attempt: int
    status: str
    phase: str
    progress: float
    message: str = Field(sa_column=Column(Text, nullable=False))


EVENTS: Final[Table] = ExportEvent.__table__  # type: ignore[attr-defined]
