"""The tables of outbound webhooks: endpoints, the outbox, and the log of what was sent."""

from enum import StrEnum

import msgspec
from sqlalchemy import Column, Index, Table, Text, text
from sqlmodel import Field, SQLModel

ENDPOINT_PREFIX = "ep_"

_OF_USER = text("job_id IS NULL")
_OF_JOB = text("job_id IS NOT NULL")
_IS_PENDING = text("state = 'pending'")
_HAS_ENDED = text("ended_at IS NOT NULL")

# Progress that nobody has tried to send yet: there is one at most for an export and an endpoint, the newest.
UNTRIED_PROGRESS = (
    "type = 'export.progress' AND state = 'pending' AND tries = 0 AND lease_until IS NULL AND NOT requested"
)


class DeliveryState(StrEnum):
    """pending → delivered | failed | superseded; `redeliver` makes it pending again.

    Superseded is what newer news has overtaken, and progress that could not be told while it was news.
    """

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    SUPERSEDED = "superseded"


class DisabledReason(StrEnum):
    """Why an endpoint is disabled: by its owner, after a 410, or after failing for days."""

    BY_USER = "disabled"
    GONE = "gone"
    FAILING = "failing"


class WebhookEndpoint(SQLModel, table=True):
    """A consumer's URL: of a user, or of one export alone. Times are seconds since the epoch."""

    __tablename__ = "webhook_endpoints"
    __table_args__ = (
        Index(
            "ix_webhook_endpoints_user",
            "user_id",
            "endpoint_id",
            sqlite_where=_OF_USER,
            postgresql_where=_OF_USER,
        ),
        Index("ix_webhook_endpoints_job", "job_id", sqlite_where=_OF_JOB, postgresql_where=_OF_JOB),
    )

    endpoint_id: str = Field(primary_key=True)
    user_id: str
    job_id: str | None = None
    url: str = Field(sa_column=Column(Text, nullable=False))
    description: str = Field(default="", sa_column=Column(Text, nullable=False))
    events: str
    secret: str
    previous_secret: str | None = None
    signing_key: str | None = None
    previous_signing_key: str | None = None
    previous_until: float | None = None
    enabled: bool = True
    disabled_reason: str | None = None
    disabled_at: float | None = None
    failing_since: float | None = None
    failed_at: float | None = None
    created_at: float


class WebhookDelivery(SQLModel, table=True):
    """One event for one endpoint: the outbox. Its id is the `webhook-id` of every attempt.

    `tries` counts failures along the schedule, `attempts` everything that was ever sent. While an attempt is under
    way `lease_until` says until when nobody else may make one, and `next_at` is the same moment. A lease outlives a
    delivery that is given up while it is under way: what is newer waits for its end all the same. `scheduled_at` is
    when `next_at` and `lease_until` were set: a moment to come means that the clock was set back.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
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
            sqlite_where=text(UNTRIED_PROGRESS),
            postgresql_where=text(UNTRIED_PROGRESS),
        ),
        Index(
            "ix_webhook_deliveries_ended", "ended_at", sqlite_where=_HAS_ENDED, postgresql_where=_HAS_ENDED
        ),
    )

    delivery_id: str = Field(primary_key=True)
    endpoint_id: str
    user_id: str
    job_id: str | None = None
    sequence: int = 0
    type: str
    payload: str = Field(sa_column=Column(Text, nullable=False))
    traceparent: str | None = None
    state: str = DeliveryState.PENDING
    tries: int = 0
    attempts: int = 0
    requested: bool = False
    next_at: float
    lease_until: float | None = None
    scheduled_at: float | None = None
    created_at: float
    ended_at: float | None = None


class WebhookAttempt(SQLModel, table=True):
    """One request that was made: written before it is sent, completed by what came back."""

    __tablename__ = "webhook_attempts"

    delivery_id: str = Field(primary_key=True)
    attempt: int = Field(primary_key=True)
    at: float = Field(index=True)
    seconds: float | None = None
    status: int | None = None
    error_code: str | None = None
    error_message: str | None = Field(default=None, sa_column=Column(Text))
    excerpt: str | None = Field(default=None, sa_column=Column(Text))


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `webhook_endpoints`, field by field."""

    endpoint_id: str
    user_id: str
    job_id: str | None
    url: str
    description: str
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

    @property
    def wants(self) -> list[str]:
        """The types of events that it is told of."""
        return self.events.split(",")


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `webhook_deliveries`, field by field."""

    delivery_id: str
    endpoint_id: str
    user_id: str
    job_id: str | None
    sequence: int
    type: str
    payload: str
    traceparent: str | None
    state: DeliveryState
    tries: int
    attempts: int
    requested: bool
    next_at: float
    lease_until: float | None
    scheduled_at: float | None
    created_at: float
    ended_at: float | None


ENDPOINTS: Table = WebhookEndpoint.__table__  # type: ignore[attr-defined]
DELIVERIES: Table = WebhookDelivery.__table__  # type: ignore[attr-defined]
ATTEMPTS: Table = WebhookAttempt.__table__  # type: ignore[attr-defined]
