"""Tables of outbound webhooks (endpoints, deliveries, attempts) and their rows as values."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec
from sqlalchemy import Column, Float, Index, String, Table, Text, literal_column, text
from sqlmodel import Field, SQLModel

from callbacks.envelope import EventType
from service.jobs.columns import LongText, PrimaryKey, table_columns
from service.jobs.filters import decode_filter
from service.jobs.models import Job

ENDPOINT_PREFIX = "ep_"

_OF_USER = text("job_id IS NULL")
_OF_JOB = text("job_id IS NOT NULL")
_IS_PENDING = text("state = 'pending'")
_HAS_ENDED = text("ended_at IS NOT NULL")

# Progress that was never sent: a unique index keeps one such row, the newest, per export and endpoint.
UNSENT_PROGRESS = (
    "type = 'export.progress' AND state = 'pending' AND tries = 0 AND lease_until IS NULL AND NOT requested"
)


class WebhookEvent(StrEnum):
    """The events that an endpoint may have."""

    STARTED = EventType.STARTED.value
    PROGRESS = EventType.PROGRESS.value
    COMPLETED = EventType.COMPLETED.value
    FAILED = EventType.FAILED.value
    CANCELLED = EventType.CANCELLED.value
    EXPIRED = "export.expired"
    ERASED = "export.erased"
    BATCH_COMPLETED = "batch.completed"


class DeliveryState(StrEnum):
    """State of a delivery: pending → delivered | failed | superseded.

    `redeliver` makes it pending again. A delivery is superseded by a newer event of its export, or if it is progress
    that was not sent in time.
    """

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    SUPERSEDED = "superseded"


class DisabledReason(StrEnum):
    """Why an endpoint is disabled: by its owner, for a 410, or for days of failures."""

    BY_USER = "disabled"
    GONE = "gone"
    FAILING = "failing"


class EndpointKind(StrEnum):
    """How an endpoint gets its deliveries: at its URL, or over the stream of a listener."""

    URL = "url"
    LISTENER = "listener"


class EndpointFormat(StrEnum):
    """What the bodies of an endpoint look like: Standard Webhooks, CloudEvents 1.0, or text for Slack."""

    STANDARD = "standard"
    CLOUDEVENTS = "cloudevents"
    SLACK = "slack"


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """URL or listener of a consumer, for all exports of a user or for a single one.

    A row of `webhook_endpoints`, whose columns are these fields. Times are seconds since the epoch. `export_filter` is
    JSON, and says of which exports it gets events; without one of all. `url` is empty if it is a listener, and
    `listened_at` is when one last connected. `custom_headers` is JSON, and `rate_limit` is in deliveries per second.
    """

    endpoint_id: PrimaryKey
    user_id: str
    job_id: str | None
    url: LongText
    description: LongText
    events: str
    secret: str
    previous_secret: str | None
    signing_key: str | None
    previous_signing_key: str | None
    previous_until: float | None
    enabled: bool
    disabled_reason: str | None
    disabled_at: float | None
    failing_since: float | None
    failed_at: float | None
    created_at: float
    export_filter: LongText | None = None
    kind: Annotated[EndpointKind, msgspec.Meta(extra={"server_default": EndpointKind.URL})] = EndpointKind.URL
    listened_at: float | None = None
    format: Annotated[EndpointFormat, msgspec.Meta(extra={"server_default": EndpointFormat.STANDARD})] = (
        EndpointFormat.STANDARD
    )
    custom_headers: LongText | None = None
    rate_limit: float | None = None

    @property
    def event_types(self) -> list[str]:
        """The types of the events that are sent to it."""
        return self.events.split(",")

    def is_interested_in(self, job: Job) -> bool:
        """Tell whether the event of this state of a job is sent to it."""
        shows_job = self.export_filter is None or decode_filter(self.export_filter).matches(job)
        return shows_job and job.event_type in self.event_types


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One event for one endpoint; the rows of `webhook_deliveries` are the outbox.

    The id is the `webhook-id` of every attempt. `tries` counts the failures along the retry schedule, `attempts` all
    requests ever sent. `lease_until` is set while an attempt is in flight: no other process may send the delivery
    before, and `next_at` is the same moment. The lease of a delivery that fails for good while it is in flight stays,
    so newer events still wait for its end. `scheduled_at` is when `next_at` and `lease_until` were set: a future
    value shows that the clock was set back. `fault` is what a test event rehearses.
    """

    delivery_id: PrimaryKey
    endpoint_id: str
    user_id: str
    job_id: str | None
    sequence: int
    type: str
    payload: LongText
    traceparent: str | None
    request_id: str | None
    state: DeliveryState
    tries: int
    attempts: int
    requested: bool
    next_at: float
    lease_until: float | None
    scheduled_at: float | None
    created_at: float
    ended_at: float | None
    fault: str | None = None

    @property
    def is_test(self) -> bool:
        """Whether its owner asked for it, to test the endpoint: real events are of an export or a batch."""
        return self.job_id is None


ENDPOINTS: Final = Table(
    "webhook_endpoints",
    SQLModel.metadata,
    *table_columns(Endpoint),
    Index(
        "ix_webhook_endpoints_user",
        "user_id",
        "endpoint_id",
        sqlite_where=_OF_USER,
        postgresql_where=_OF_USER,
    ),
    Index("ix_webhook_endpoints_job", "job_id", sqlite_where=_OF_JOB, postgresql_where=_OF_JOB),
)
DELIVERIES: Final = Table(
    "webhook_deliveries",
    SQLModel.metadata,
    *table_columns(Delivery),
    Index("ix_webhook_deliveries_list", "endpoint_id", "delivery_id"),
    Index("ix_webhook_deliveries_job", "endpoint_id", "job_id", "sequence"),
    Index(
        "ix_webhook_deliveries_due",
        "endpoint_id",
        "next_at",
        sqlite_where=_IS_PENDING,
        postgresql_where=_IS_PENDING,
    ),
    Index(
        "ix_webhook_deliveries_progress",
        "endpoint_id",
        "job_id",
        unique=True,
        sqlite_where=text(UNSENT_PROGRESS),
        postgresql_where=text(UNSENT_PROGRESS),
    ),
    Index(
        "ix_webhook_deliveries_scheduled",
        "scheduled_at",
        "next_at",
        "state",
        sqlite_where=_IS_PENDING,
        postgresql_where=_IS_PENDING,
    ),
    Index("ix_webhook_deliveries_ended", "ended_at", sqlite_where=_HAS_ENDED, postgresql_where=_HAS_ENDED),
)
IS_PENDING: Final = DELIVERIES.c.state == literal_column("'pending'")
"""As the partial indexes have it: a plan that PostgreSQL keeps for any value of a parameter can use none of them."""

PACING: Final = Table(
    "webhook_pacing",
    SQLModel.metadata,
    Column("endpoint_id", String, primary_key=True),
    Column("next_at", Float, nullable=False),
)
"""When an endpoint with a rate limit may be sent its next delivery, in seconds since the epoch."""


class WebhookAttempt(SQLModel, table=True):
    """One request in the attempt log: inserted before it is sent, completed with its result."""

    __tablename__ = "webhook_attempts"
    __table_args__ = (Index("ix_webhook_attempts_endpoint", "endpoint_id", "at"),)

    delivery_id: str = Field(primary_key=True)
    attempt: int = Field(primary_key=True)
    endpoint_id: str | None = None
    at: float = Field(index=True)
    seconds: float | None = None
    status: int | None = None
    error_code: str | None = None
    error_message: str | None = Field(default=None, sa_column=Column(Text))
    excerpt: str | None = Field(default=None, sa_column=Column(Text))


ATTEMPTS: Table = WebhookAttempt.__table__  # type: ignore[attr-defined]


def endpoint_from_row(row: Mapping[Any, Any]) -> Endpoint:
    """Convert a row of either database; SQLite stores booleans as numbers."""
    return msgspec.convert({**row, "enabled": bool(row["enabled"])}, Endpoint)


def delivery_from_row(row: Mapping[Any, Any]) -> Delivery:
    """Convert a row of either database; SQLite stores booleans as numbers."""
    return msgspec.convert({**row, "requested": bool(row["requested"])}, Delivery)
