"""Each request that changes something is in the audit log, with the change or not at all."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DatabaseError
from sqlmodel import SQLModel
from starlette.routing import Route

from service.api.openapi.operations import find_operation
from service.api.routes import ROUTES
from service.audit.actions import Action
from service.audit.caller import CALLER, Actor, Caller
from service.exports.user_erasure import BATCH_ROWS, UserEraser
from service.keys.models import API_KEYS
from service.keys.scopes import Scope
from service.settings import Settings
from tests.service.audit.test_audit_log import ADA, HOOK, read_log, send, to_lines
from tests.service.keys.api_keys import create_key
from tests.support.app_harness import AppHarness, open_app
from tests.support.fakes import FakeRunner

pytestmark = pytest.mark.anyio
AUDITED = {
    "create_export": Action.EXPORT_CREATED,
    "edit_export": Action.EXPORT_EDITED,
    "cancel_export": Action.EXPORT_CANCELLED,
    "cancel_exports": Action.EXPORT_CANCELLED,
    "retry_export": Action.EXPORT_RETRIED,
    "retry_exports": Action.EXPORT_RETRIED,
    "create_batch": Action.BATCH_CREATED,
    "cancel_batch": Action.EXPORT_CANCELLED,
    "create_upload": Action.UPLOAD_CREATED,
    "abort_upload": Action.UPLOAD_ABORTED,
    "delete_upload": Action.UPLOAD_DELETED,
    "create_webhook": Action.WEBHOOK_CREATED,
    "update_webhook": Action.WEBHOOK_CHANGED,
    "delete_webhook": Action.WEBHOOK_DELETED,
    "rotate_webhook_secret": Action.SECRET_ROTATED,
    "send_test_event": Action.WEBHOOK_TESTED,
    "redeliver": Action.DELIVERY_RESENT,
    "recover_events": Action.EVENTS_RESENT,
    "create_portal_link": Action.PORTAL_LINK_CREATED,
    "create_key": Action.KEY_CREATED,
    "revoke_key": Action.KEY_REVOKED,
}
NOT_AUDITED = {
    "estimate_export": "creates nothing",
    "probe_upload": "only reads",
    "verify_message": "only reads",
    "acknowledge_exports": "only says what its user has seen",
    "create_stream_ticket": "only shows, and ends with the token that asked for it",
    "create_export_download_url": "only shows",
    "create_upload_download_url": "only shows",
    "complete_upload": "ends what `upload.created` names",
    "put_file": "sends what `upload.created` names",
    "listen_to_webhook": "only follows",
    "post_outcome": "reports what a receiver has answered",
    "report_progress": "a run, which is no user",
    "request_output_targets": "a run, which is no user",
}
ALSO = {Action.EXPORT_ERASED, Action.BATCH_ERASED, Action.USER_ERASED}
"""What `?purge=true` does, and an operator's command."""


def test_every_operation_that_may_change_something_is_audited_or_has_a_reason() -> None:
    changing = {
        operation.id
        for route in ROUTES
        if isinstance(route, Route) and (route.methods or set()) - {"GET", "HEAD"}
        for operation in [*(find_operation(route.endpoint) or ())][:1]
    }
    assert changing == AUDITED.keys() | NOT_AUDITED.keys()
    assert {*AUDITED.values()} | ALSO == set(Action)


@pytest.fixture
async def app(users_settings: Settings) -> AsyncIterator[AppHarness]:
    async with open_app(users_settings, FakeRunner()) as harness:
        yield harness


async def test_edits_uploads_and_what_is_sent_again(app: AppHarness) -> None:
    job_id = (await app.submit_export(user="ada", headers=ADA))["job_id"]
    await send(app, f"PATCH /api/exports/{job_id}", ADA, {"name": "Final"})
    await send(app, f"PATCH /api/exports/{job_id}", ADA, {})  # changes nothing
    small = {"filename": "secret.mp4", "size": 5, "content_type": "video/mp4"}
    stored = await send(app, "POST /api/uploads", ADA, small)
    large = await send(app, "POST /api/uploads", ADA, small | {"size": 20_000_000, "parts": True})
    await send(app, f"DELETE /api/uploads/{large['upload']}", ADA)
    for _ in range(2):
        await send(app, f"DELETE /api/uploads/{stored['key']}", ADA)
    path = f"/api/webhooks/{(await send(app, 'POST /api/webhooks', ADA, HOOK))['id']}"
    delivery = (await send(app, f"POST {path}/test", ADA))["delivery_id"]
    async with app.database.transaction() as session:  # as if the attempt had ended
        await session.execute(text("UPDATE webhook_deliveries SET state = 'failed', lease_until = NULL"))
    await send(app, f"POST {path}/deliveries/{delivery}/redeliver", ADA)
    await send(app, f"POST {path}/recover", ADA, {"since": "2026-01-01T00:00:00Z"})
    folders = ["/".join(upload["key"].split("/")[:2]) for upload in (stored, large)]
    endpoint = path.rpartition("/")[2]
    assert [(action, object_id) for _, action, object_id in to_lines(await read_log(app))] == [
        ("export.created", job_id),
        ("export.edited", job_id),
        ("upload.created", folders[0]),
        ("upload.created", folders[1]),
        ("upload.aborted", folders[1]),
        ("upload.deleted", folders[0]),
        ("webhook.created", endpoint),
        ("webhook.tested", endpoint),
        ("webhook.delivery_resent", delivery),
        ("webhook.events_resent", endpoint),
    ]


async def test_what_a_portal_does_names_its_link(app: AppHarness) -> None:
    key_id, key = await create_key(app.client, ADA, Scope.WEBHOOKS_READ, Scope.WEBHOOKS_WRITE)
    url = (await send(app, "POST /api/webhooks/portal-link", key))["url"]
    portal = {"authorization": f"Bearer {url.partition('#token=')[2]}"}
    await send(app, "POST /api/webhooks", portal, HOOK)
    _, link, created = await read_log(app)
    assert (link.actor, link.action, link.key_id) == (Actor.KEY, Action.PORTAL_LINK_CREATED, key_id)
    assert (created.actor, created.user_id, created.key_id) == (Actor.PORTAL, "ada", link.object_id)


@asynccontextmanager
async def refuse_entries(app: AppHarness) -> AsyncIterator[None]:
    """Let the database refuse all entries of the audit log, as a crash in that moment would."""
    trigger = "CREATE TRIGGER refuse BEFORE INSERT ON audit_log BEGIN SELECT RAISE(ABORT, 'refused'); END"
    async with app.database.transaction() as session:
        await session.execute(text(trigger))
    yield
    async with app.database.transaction() as session:
        await session.execute(text("DROP TRIGGER refuse"))


async def count_rows(app: AppHarness) -> dict[str, int]:
    """Count the rows of ada but what an erasure keeps and what the dispatcher adds."""
    passing = {"erasures", "occupied_places", "user_service"}
    counts = {}
    async with app.database.reading() as session:
        for table in SQLModel.metadata.sorted_tables:
            if "user_id" in table.columns and table.name not in passing:
                query = select(func.count()).select_from(table).where(table.c.user_id == "ada")
                counts[table.name] = int(await session.scalar(query) or 0)
    return {name: count for name, count in counts.items() if count}


async def test_an_erasure_whose_entry_is_not_written_is_not_over(app: AppHarness) -> None:
    await app.submit_export(user="ada", headers=ADA)
    keys = [await create_key(app.client, ADA) for _ in range(2)]
    old = [
        {"key_id": f"old {number}", "user_id": "ada", "name": "", "scopes": "", "hint": "", "created_at": 0.0}
        for number in range(2 * BATCH_ROWS)
    ]
    async with app.database.transaction() as session:
        await session.execute(API_KEYS.insert(), [row | {"key_hash": row["key_id"]} for row in old])
    eraser = UserEraser(app.database, app.state["storage"], time.time)
    CALLER.set(Caller(Actor.OPERATOR))
    async with refuse_entries(app):
        with pytest.raises(DatabaseError, match="refused"):
            await eraser.erase("ada", audit_id="hash")
        left: dict[str, Any] = await count_rows(app)
        assert left["api_keys"] == len(keys) + len(old) - 2 * BATCH_ROWS
    assert await read_log(app, object_id="hash") == []
    await eraser.erase("ada", audit_id="hash")
    assert await count_rows(app) == {}
    (entry,) = await read_log(app)
    assert (entry.action, entry.actor, entry.user_id) == (Action.USER_ERASED, Actor.OPERATOR, None)


async def test_no_change_is_stored_without_its_entry(app: AppHarness) -> None:
    key_id, key = await create_key(app.client, ADA)
    job_id = (await app.submit_export(user="ada", headers=ADA))["job_id"]
    requests: tuple[tuple[str, str, Any], ...] = (
        ("PATCH", f"/api/exports/{job_id}", {"name": "Final"}),
        ("DELETE", f"/api/exports/{job_id}", None),
        ("DELETE", f"/api/exports/{job_id}?purge=true", None),
        ("POST", "/api/uploads", {"filename": "a.mp4", "size": 5, "content_type": "video/mp4"}),
        ("POST", "/api/webhooks", HOOK),
        ("POST", "/api/webhooks/portal-link", {}),
        ("DELETE", f"/api/keys/{key_id}", None),
    )
    before = await count_rows(app)
    async with refuse_entries(app):
        for method, path, body in requests:
            with pytest.raises(DatabaseError, match="refused"):
                await app.client.request(method, path, json=body, headers=ADA)
    assert await count_rows(app) == before
    job = await send(app, f"GET /api/exports/{job_id}", key)
    assert (job["name"], job["status"] == "cancelled") == (None, False)
