"""What users and operators do, by the names of the audit log."""

from enum import StrEnum


class Action(StrEnum):
    """What was done; the values never change."""

    EXPORT_CREATED = "export.created"
    EXPORT_EDITED = "export.edited"
    EXPORT_CANCELLED = "export.cancelled"
    EXPORT_RETRIED = "export.retried"
    EXPORT_ERASED = "export.erased"
    BATCH_CREATED = "batch.created"
    BATCH_ERASED = "batch.erased"
    UPLOAD_CREATED = "upload.created"
    UPLOAD_ABORTED = "upload.aborted"
    UPLOAD_DELETED = "upload.deleted"
    WEBHOOK_CREATED = "webhook.created"
    WEBHOOK_CHANGED = "webhook.changed"
    WEBHOOK_DELETED = "webhook.deleted"
    SECRET_ROTATED = "webhook.secret_rotated"  # noqa: S105 - the name of an action
    WEBHOOK_TESTED = "webhook.tested"
    DELIVERY_RESENT = "webhook.delivery_resent"
    EVENTS_RESENT = "webhook.events_resent"
    PORTAL_LINK_CREATED = "portal_link.created"
    KEY_CREATED = "key.created"
    KEY_REVOKED = "key.revoked"
    USER_ERASED = "user.erased"
