"""Write entries of the audit log, and read them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy import ColumnElement, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from infra.telemetry import REQUEST_ID
from service.audit.actions import Action
from service.audit.caller import CALLER
from service.audit.models import AUDIT_LOG, AuditEntry
from service.jobs.ids import new_id


@dataclass(frozen=True)
class EntryFilter:
    """Which entries to list; times are in seconds since the epoch."""

    user_id: str | None = None
    key_id: str | None = None
    object_id: str | None = None
    actions: Sequence[Action] = ()
    since: float | None = None
    until: float | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return the conditions of the query."""
        columns = AUDIT_LOG.c
        equal = (
            (columns.user_id, self.user_id),
            (columns.key_id, self.key_id),
            (columns.object_id, self.object_id),
        )
        conditions: list[ColumnElement[bool]] = [
            column == value for column, value in equal if value is not None
        ]
        if self.actions:
            conditions.append(columns.action.in_(self.actions))
        if self.since is not None:
            conditions.append(columns.at >= self.since)
        if self.until is not None:
            conditions.append(columns.at < self.until)
        return conditions


async def record(
    session: AsyncSession, action: Action, user_id: str | None, object_ids: Iterable[str], *, now: float
) -> None:
    """Add an entry for each object that the caller has changed, in the transaction of the change.

    Nothing is added for what the service does by itself.
    """
    caller = CALLER.get()
    if caller is None:
        return
    entries = [
        AuditEntry(
            entry_id=new_id(now),
            at=now,
            action=action,
            object_id=object_id,
            actor=caller.actor,
            user_id=user_id,
            key_id=caller.key_id,
            address=caller.address,
            request_id=REQUEST_ID.get(),
        )
        for object_id in object_ids
    ]
    if entries:
        await session.execute(insert(AUDIT_LOG), list(map(msgspec.structs.asdict, entries)))


async def list_entries(session: AsyncSession, entry_filter: EntryFilter, *, limit: int) -> list[AuditEntry]:
    """Return the newest entries, newest first."""
    query = select(AUDIT_LOG).where(*entry_filter.conditions())
    rows = await session.execute(
        query.order_by(AUDIT_LOG.c.at.desc(), AUDIT_LOG.c.entry_id.desc()).limit(limit)
    )
    return [msgspec.convert({**row}, AuditEntry) for row in rows.mappings()]
