"""What users and operators do, by the names of the audit log."""

from enum import StrEnum


class Action(StrEnum):
    """What was done; the values never change."""

    EXPORT_CREATED = "export.created"
    EXPORT_CANCELLED = "export.cancelled"
    EXPORT_RETRIED = "export.retried"
    EXPORT_ERASED = "export.erased"
    BATCH_CREATED = "batch.created"
    BATCH_ERASED = "batch.erased"
    WEBHOOK_CREATED = "webhook.created"
    WEBHOOK_CHANGED = "webhook.changed"
    WEBHOOK_DELETED = "webhook.deleted"
    SECRET_ROTATED = "webhook.secret_rotated"  # noqa: S105 - the name of an action
    KEY_CREATED = "key.created"
    KEY_REVOKED = "key.revoked"
    USER_ERASED = "user.erased"
