"""The names that the API has for states, priorities and events."""

from enum import StrEnum
from typing import Literal

PriorityName = Literal["low", "normal", "high"]


class StatusName(StrEnum):
    """State of an export."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETE = "complete"
    ERROR = "error"
    CANCELLED = "cancelled"


class EventName(StrEnum):
    """Event that an endpoint can get."""

    STARTED = "export.started"
    PROGRESS = "export.progress"
    COMPLETED = "export.completed"
    FAILED = "export.failed"
    CANCELLED = "export.cancelled"
    EXPIRED = "export.expired"
    ERASED = "export.erased"
    BATCH_COMPLETED = "batch.completed"


class FormatName(StrEnum):
    """Format of the bodies that an endpoint gets."""

    STANDARD = "standard"
    CLOUDEVENTS = "cloudevents"
    SLACK = "slack"


class FaultName(StrEnum):
    """What a test event can rehearse."""

    DUPLICATE = "duplicate"
    LATE = "late"
    REORDER = "reorder"
    SLOW = "slow"
    TRUNCATE = "truncate"
    BAD_SIGNATURE = "bad-signature"
    OLD_SECRET = "old-secret"  # noqa: S105 - the name of a fault


class DeliveryStateName(StrEnum):
    """State of a delivery."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    SUPERSEDED = "superseded"
