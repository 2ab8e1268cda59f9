"""The audit log says who did what; it is written with the change, and what is refused leaves no entry."""

import asyncio
import json
import time
from contextlib import AsyncExitStack
from typing import Any

import pytest
from sqlalchemy import select

from service.audit.actions import Action
from service.audit.caller import Actor
from service.audit.log import EntryFilter, list_entries
from service.audit.models import AUDIT_LOG, AuditEntry
from service.retention import Retention, RetentionTask
from service.settings import Settings
from tests.conftest import delete_all_rows
from tests.service.cli.commands import run
from tests.service.conftest import JWT_SECRET, MASTER, bearer
from tests.service.keys.api_keys import create_key
from tests.support.app_harness import SOURCE, AppHarness, open_app
from tests.support.fakes import FakeRunner

pytestmark = pytest.mark.anyio
ADA, BOB = bearer("ada"), bearer("bob")
HOOK = {"url": "https://93.184.216.34/hook"}


@pytest.fixture(params=["sqlite", "postgresql"])
async def app(request: pytest.FixtureRequest, users_settings: Settings, stack: AsyncExitStack) -> AppHarness:
    """The service of several users on each database."""
    url = request.getfixturevalue(f"{request.param}_url")
    await delete_all_rows(url)
    settings = users_settings.model_copy(update={"database_url": url})
    return await stack.enter_async_context(open_app(settings, FakeRunner()))


async def read_log(app: AppHarness, **conditions: Any) -> list[AuditEntry]:
    """Return the entries, oldest first."""
    async with app.database.reading() as session:
        return (await list_entries(session, EntryFilter(**conditions), limit=1_000))[::-1]


def to_lines(entries: list[AuditEntry]) -> list[tuple[str, str, str]]:
    return [(str(entry.actor), str(entry.action), entry.object_id) for entry in entries]


async def send(
    app: AppHarness, request: str, bearer: dict[str, str], body: Any = None, *, is_refused: bool = False
) -> Any:
    """Send a request and return the body of its answer."""
    method, path = request.split(" ")
    answer = await app.client.request(method, path, json=body, headers=bearer)
    assert answer.is_error is is_refused, (request, answer.text)
    return answer.json() if answer.content else None


async def test_what_users_do_with_exports_and_batches(app: AppHarness) -> None:
    key_id, key = await create_key(app.client, ADA)
    job_id = (await app.submit_export(user="ada", headers=key | {"x-request-id": "request-1"}))["job_id"]
    path = f"/api/exports/{job_id}"
    for _ in range(2):  # cancelling again changes nothing
        await send(app, f"DELETE {path}", ADA)
    await send(app, f"POST {path}/retry", ADA)
    await send(app, "POST /api/exports/cancel", ADA, {"ids": [job_id]})
    await send(app, f"POST {path}/retry", BOB, is_refused=True)
    batch = await send(app, "POST /api/batches", ADA, {"exports": [app.export_body()]})
    (job,) = (await send(app, f"GET /api/exports?batch_id={batch['batch_id']}", ADA))["exports"]
    for _ in range(2):
        await send(app, f"DELETE /api/batches/{batch['batch_id']}?purge=true", ADA)
        await send(app, f"DELETE {path}?purge=true", ADA)
    _, *entries = await read_log(app)
    assert to_lines(entries) == [
        ("key", "export.created", job_id),
        ("token", "export.cancelled", job_id),
        ("token", "export.retried", job_id),
        ("token", "export.cancelled", job_id),
        ("token", "batch.created", batch["batch_id"]),
        ("token", "export.erased", job["job_id"]),
        ("token", "batch.erased", batch["batch_id"]),
        ("token", "export.erased", job_id),
    ]
    assert {entry.user_id for entry in entries} == {"ada"}
    assert (entries[0].key_id, entries[0].request_id) == (key_id, "request-1")
    assert [entry.key_id for entry in entries[1:]] == [None] * 7
    assert {entry.address for entry in entries} == {None}


async def test_what_users_do_with_webhooks_and_keys(app: AppHarness) -> None:
    endpoint_id = (await send(app, "POST /api/webhooks", ADA, HOOK))["id"]
    path = f"/api/webhooks/{endpoint_id}"
    await send(app, f"PATCH {path}", ADA, {"description": "Order system"})
    await send(app, f"POST {path}/rotate", ADA)
    await send(app, f"DELETE {path}", ADA)
    await send(app, f"PATCH {path}", ADA, {"description": ""}, is_refused=True)
    key_id, _ = await create_key(app.client, ADA)
    for _ in range(2):
        await send(app, f"DELETE /api/keys/{key_id}", ADA)
    assert to_lines(await read_log(app)) == [
        *(
            ("token", f"webhook.{action}", endpoint_id)
            for action in ("created", "changed", "secret_rotated", "deleted")
        ),
        ("token", "key.created", key_id),
        ("token", "key.revoked", key_id),
    ]


async def test_what_the_service_does_by_itself_is_no_entry(app: AppHarness) -> None:
    await app.submit_export(user="ada", headers=ADA)
    run = await app.next_run()
    await run.report_started()
    await app.complete_run(run)
    assert [entry.action for entry in await read_log(app)] == [Action.EXPORT_CREATED]


async def test_addresses_are_kept_if_the_operator_wants_it(users_settings: Settings) -> None:
    settings = users_settings.model_copy(update={"audit_addresses": True})
    async with open_app(settings, FakeRunner()) as app:
        await create_key(app.client, ADA)
        (entry,) = await read_log(app)
    assert entry.address == "127.0.0.1"


async def run_command(app: AppHarness, *words: str) -> str:
    """Run a command of the operator on the database of the service; return what it prints."""
    environment = {"DATABASE_URL": str(app.settings.database_url), "DATA_DIR": str(app.settings.data_dir)}
    secrets = {"AUTH_JWT_SECRET": JWT_SECRET, "CALLBACK_SECRET": MASTER}
    result = await asyncio.to_thread(run, *words, **environment, **secrets)
    assert result.status == 0, result.err
    return result.out


async def test_an_operator_reads_the_log(app: AppHarness) -> None:
    began = time.time()
    key_id, key = await create_key(app.client, ADA)
    app.put_object(SOURCE, user="ada")
    job = await app.submit_export(user="ada", headers=key)
    bobs, _ = await create_key(app.client, BOB)
    await run_command(app, "keys", "revoke", bobs)

    async def list_objects(*words: str) -> list[str]:
        entries = json.loads(await run_command(app, "audit", *words, "--json"))["entries"]
        return [entry["object_id"] for entry in entries]

    assert await list_objects() == [bobs, bobs, job["job_id"], key_id]
    assert await list_objects("--user", "ada") == [job["job_id"], key_id]
    assert await list_objects("--key", key_id) == [job["job_id"]]
    assert await list_objects("--object", key_id) == [key_id]
    assert await list_objects("--action", "key.created", "--action", "export.created", "--limit", "2") == [
        bobs,
        job["job_id"],
    ]
    assert await list_objects("--since", "2026-01-01", "--until", "2026-01-02T00:00:00Z") == []
    (entry,) = await read_log(app, actions=[Action.KEY_REVOKED])
    assert (entry.actor, entry.user_id) == (Actor.OPERATOR, "bob")
    assert began <= entry.at <= time.time()
    table = await run_command(app, "audit")
    assert [word in table for word in ("key.revoked", "operator", "ada", job["job_id"])] == [True] * 4


async def test_an_erasure_leaves_an_entry_without_the_user(app: AppHarness) -> None:
    await create_key(app.client, ADA)
    await create_key(app.client, BOB)
    await run_command(app, "keys", "create", "ada", "--name", "x", "--scope", "usage:read")
    await run_command(app, "users", "erase", "ada", "--yes")
    bobs, erased = await read_log(app)
    assert (bobs.user_id, erased.user_id) == ("bob", None)
    assert (erased.action, erased.actor) == (Action.USER_ERASED, Actor.OPERATOR)
    async with app.database.reading() as session:
        rows = (await session.execute(select(AUDIT_LOG))).all()
    assert "ada" not in str(rows)


async def test_entries_are_kept_for_so_many_days(app: AppHarness) -> None:
    await create_key(app.client, ADA)
    task = RetentionTask(app.database, Retention(events_seconds=1, audit_seconds=86_400))
    for days, kept in ((0.9, 1), (1.1, 0)):
        await task.delete_expired(now=time.time() + days * 86_400)
        assert len(await read_log(app)) == kept
