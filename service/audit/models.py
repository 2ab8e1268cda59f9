"""The table of the audit log, and `AuditEntry`: its rows."""

from typing import Final

import msgspec
from sqlalchemy import Index, Table
from sqlmodel import SQLModel

from service.audit.actions import Action
from service.audit.caller import Actor
from service.jobs.columns import PrimaryKey, table_columns


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Who did what, and when: a row of `audit_log`, whose columns are these fields.

    `user_id` is the user whose object it is, and who did it unless `actor` is an operator; None for a user who was
    erased. `key_id` is the API key or portal link with which it was done. `object_id` is an id that the service has
    made, never text of a user. `at` is in seconds since the epoch.
    """

    entry_id: PrimaryKey
    at: float
    action: Action
    object_id: str
    actor: Actor
    user_id: str | None = None
    key_id: str | None = None
    address: str | None = None
    request_id: str | None = None


AUDIT_LOG: Final = Table(
    "audit_log",
    SQLModel.metadata,
    *table_columns(AuditEntry),
    Index("ix_audit_log_at", "at"),
    Index("ix_audit_log_user", "user_id", "entry_id"),
)
