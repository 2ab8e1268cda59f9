"""Keys stand for their user, for what their scopes say, until they are revoked or expire; only hashes are stored."""

import time
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from sqlalchemy import select

from service.api.auth import Access
from service.api.streaming.lifetime import Lifetime, StreamEnd, StreamEnded
from service.exports.user_erasure import UserEraser
from service.keys import store
from service.keys.key_format import generate_key
from service.keys.key_ring import RECORD_SECONDS, STALE_SECONDS
from service.keys.models import API_KEYS
from service.keys.scopes import Scope
from service.retention import Retention, RetentionTask
from service.settings import Settings
from tests.service.conftest import bearer
from tests.support.app_harness import AppHarness, open_app
from tests.support.clocks import MovableClock
from tests.support.fakes import FakeRunner
from tests.support.problems import assert_problem

pytestmark = pytest.mark.anyio
ADA, BOB = bearer("ada"), bearer("bob")


async def create_key(app: AppHarness, *scopes: Scope, **fields: object) -> dict[str, Any]:
    body = {"name": "backend", "scopes": scopes or [Scope.EXPORTS_READ]} | fields
    answer = await app.client.post("/api/keys", json=body, headers=ADA)
    assert answer.status_code == 201, answer.text
    key: dict[str, Any] = answer.json()
    return key


def send(key: dict[str, Any]) -> dict[str, str]:
    return {"authorization": f"Bearer {key['key']}"}


async def list_keys(app: AppHarness) -> list[dict[str, Any]]:
    keys: list[dict[str, Any]] = (await app.client.get("/api/keys", headers=ADA)).json()["keys"]
    return keys


async def get_status(app: AppHarness, key: dict[str, Any], path: str = "/api/exports") -> int:
    return (await app.client.get(path, headers=send(key))).status_code


async def test_a_key_is_shown_once_and_stored_as_a_hash(app: AppHarness) -> None:
    key = await create_key(app, Scope.USAGE_READ, Scope.EXPORTS_READ, Scope.USAGE_READ)
    assert key["scopes"] == ["exports:read", "usage:read"]
    assert [key] == [{**shown, "key": key["key"]} for shown in await list_keys(app)]
    async with app.database.reading() as session:
        (row,) = (await session.execute(select(API_KEYS))).all()
    assert key["key"] not in str(row)
    assert (row.user_id, row.hint) == ("ada", key["key"][:7])
    assert (await app.client.get("/api/keys", headers=BOB)).json() == {"keys": []}


async def test_a_key_is_its_user(multi_user_app: AppHarness) -> None:
    key = await create_key(multi_user_app, Scope.EXPORTS_READ, Scope.EXPORTS_WRITE)
    job = await multi_user_app.submit_export(user="ada", headers=send(key))
    listed = (await multi_user_app.client.get("/api/exports", headers=ADA)).json()["exports"]
    assert [export["job_id"] for export in listed] == [job["job_id"]]
    cookie = {"cookie": f"framehook_token={key['key']}"}
    assert (
        await multi_user_app.client.get(f"/api/exports/{job['job_id']}", headers=cookie)
    ).status_code == 200


async def test_a_key_without_the_scope_is_refused(multi_user_app: AppHarness) -> None:
    key = await create_key(multi_user_app, Scope.EXPORTS_READ)
    answer = await multi_user_app.client.post(
        "/api/exports", json=multi_user_app.export_body(), headers=send(key)
    )
    assert assert_problem(answer, 403)["code"] == "missing_scope"
    assert answer.headers["www-authenticate"] == 'Bearer error="insufficient_scope", scope="exports:write"'


async def test_no_key_manages_keys(multi_user_app: AppHarness) -> None:
    key = await create_key(multi_user_app, *Scope)
    body = {"name": "another", "scopes": ["exports:read"]}
    for answer in (
        await multi_user_app.client.post("/api/keys", json=body, headers=send(key)),
        await multi_user_app.client.get("/api/keys", headers=send(key)),
        await multi_user_app.client.delete(f"/api/keys/{key['id']}", headers=send(key)),
    ):
        assert assert_problem(answer, 403)["code"] == "key_refused"
    assert len(await list_keys(multi_user_app)) == 1


async def test_a_revoked_key_ends_at_once_here(multi_user_app: AppHarness) -> None:
    key = await create_key(multi_user_app)
    assert await get_status(multi_user_app, key) == 200
    path = f"/api/keys/{key['id']}"
    assert_problem(await multi_user_app.client.delete(path, headers=BOB), 404)
    for _ in range(2):  # what is revoked already stays so
        assert (await multi_user_app.client.delete(path, headers=ADA)).status_code == 204
    assert await get_status(multi_user_app, key) == 401
    (shown,) = await list_keys(multi_user_app)
    assert shown["revoked_at"] is not None


@pytest.mark.parametrize("ahead_seconds", [0, 10_800], ids=["", "the clock was ahead meanwhile"])
async def test_a_key_that_another_replica_revokes_ends_with_the_next_check(
    app: AppHarness, clock: MovableClock, ahead_seconds: float
) -> None:
    key = await create_key(app)
    assert await get_status(app, key) == 200
    lifetime = Lifetime(Access("ada", key=await app.state["keys"].find(key["key"])), app.state["clock"])
    lifetime.check()
    clock.step_seconds = ahead_seconds
    await app.state["keys"].check()
    clock.step_seconds = 0
    async with app.database.transaction() as session:
        assert await store.revoke(session, key["id"], None, now=time.time()) is not None
    await app.state["keys"].check()
    assert await get_status(app, key) == 401
    with pytest.raises(StreamEnded) as ended:
        lifetime.check()
    assert ended.value.end is StreamEnd.EXPIRED


async def test_the_keys_of_an_erased_user_end(app: AppHarness) -> None:
    key = await create_key(app)
    assert await get_status(app, key) == 200
    await UserEraser(app.database, app.state["storage"], time.time).erase("ada", audit_id="ada's hash")
    await app.state["keys"].check()
    assert await get_status(app, key) == 401
    assert await list_keys(app) == []


async def test_a_key_ends_when_it_expires(app: AppHarness, clock: MovableClock) -> None:
    key = await create_key(app, expires_at=datetime.fromtimestamp(time.time() + 60, UTC).isoformat())
    assert await get_status(app, key) == 200
    ticket = (await app.client.post("/api/stream-tickets", headers=send(key))).json()
    assert ticket["expires_in"] <= 60
    clock.step_seconds = 61
    assert await get_status(app, key) == 401


async def open_portal(app: AppHarness, key: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Create a link to the portal with a key; return it, and the header that sends its token."""
    answer = await app.client.post("/api/webhooks/portal-link", headers=send(key))
    assert answer.status_code == 201, answer.text
    return answer.json(), {"authorization": f"Bearer {answer.json()['url'].partition('#token=')[2]}"}


async def assert_portal_ended(app: AppHarness, portal: dict[str, str]) -> None:
    answer = await app.client.get("/api/webhooks", headers=portal)
    assert "key" not in assert_problem(answer, 401)["detail"]
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'


async def test_a_key_that_can_not_read_webhooks_makes_no_portal(app: AppHarness) -> None:
    key = await create_key(app, Scope.WEBHOOKS_WRITE)
    answer = await app.client.post("/api/webhooks/portal-link", headers=send(key))
    problem = assert_problem(answer, 403)
    assert problem["code"] == "missing_scope"
    assert "webhooks:read" in problem["detail"]


@pytest.mark.parametrize("is_here", [True, False], ids=["here", "in another process"])
async def test_the_portals_of_a_key_end_when_it_is_revoked(app: AppHarness, is_here: bool) -> None:
    key = await create_key(app, Scope.WEBHOOKS_READ, Scope.WEBHOOKS_WRITE)
    _, portal = await open_portal(app, key)
    hook = {"url": "https://93.184.216.34/hook"}
    assert (await app.client.post("/api/webhooks", json=hook, headers=portal)).status_code == 201
    if is_here:
        await app.client.delete(f"/api/keys/{key['id']}", headers=ADA)
    else:
        async with app.database.transaction() as session:
            await store.revoke(session, key["id"], None, now=time.time())
        await app.state["keys"].check()
    await assert_portal_ended(app, portal)


async def test_the_portals_of_a_key_end_when_it_expires(app: AppHarness, clock: MovableClock) -> None:
    expires_at = datetime.fromtimestamp(int(time.time()) + 120, UTC)
    key = await create_key(app, Scope.WEBHOOKS_READ, Scope.WEBHOOKS_WRITE, expires_at=expires_at.isoformat())
    link, portal = await open_portal(app, key)
    assert datetime.fromisoformat(link["expires_at"]) == expires_at
    assert (await app.client.get("/api/webhooks", headers=portal)).status_code == 200
    clock.step_seconds = 121
    await assert_portal_ended(app, portal)


async def test_what_is_no_key_is_refused(multi_user_app: AppHarness) -> None:
    changes: tuple[dict[str, object], ...] = (
        {"scopes": []},
        {"scopes": ["exports:erase"]},
        {"name": ""},
        {"expires_at": "2026-01-01T00:00:00Z"},
        {"user": "bob"},
    )
    for change in changes:
        body = {"name": "backend", "scopes": ["exports:read"]} | change
        assert_problem(await multi_user_app.client.post("/api/keys", json=body, headers=ADA), 422)
    for key in (generate_key(), "fh_", "fh_" + "a" * 38):
        answer = await multi_user_app.client.get("/api/exports", headers={"authorization": f"Bearer {key}"})
        assert_problem(answer, 401)
        assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'


async def test_the_last_use_is_stored_once_a_minute_and_never_by_a_request(
    app: AppHarness, clock: MovableClock
) -> None:
    key = await create_key(app)
    stored = []
    for seconds in (0.0, 1.0, RECORD_SECONDS + 1):
        clock.step_seconds = seconds
        assert await get_status(app, key) == 200
        before = (await list_keys(app))[0]["last_used_at"]
        await app.state["keys"].check()
        stored += [before, (await list_keys(app))[0]["last_used_at"]]
    never, first, *unchanged, last = stored
    assert never is None
    assert unchanged == [first, first, first]
    assert last > first


async def test_a_key_in_use_asks_the_database_again_only_if_its_check_is_late(
    app: AppHarness, clock: MovableClock
) -> None:
    key = await create_key(app)
    assert await get_status(app, key) == 200
    async with app.database.transaction() as session:
        await store.revoke(session, key["id"], None, now=time.time())
    clock.passed_seconds = STALE_SECONDS + 1
    assert await get_status(app, key) == 401


async def test_a_user_has_so_many_active_keys_and_no_more(app: AppHarness) -> None:
    async with app.database.transaction() as session:
        create = partial(
            store.create, name="old", scopes=[Scope.EXPORTS_READ], expires_at=None, now=time.time()
        )
        rows = [(await create(session, "ada"))[0] for _ in range(store.MAX_ACTIVE_KEYS)]
    body = {"name": "backend", "scopes": ["exports:read"]}
    refused = await app.client.post("/api/keys", json=body, headers=ADA)
    assert assert_problem(refused, 409)["code"] == "too_many_keys"
    await app.client.delete(f"/api/keys/{rows[0].key_id}", headers=ADA)
    await create_key(app)


async def test_keys_that_have_ended_are_deleted_after_a_while(app: AppHarness) -> None:
    kept, revoked = await create_key(app), await create_key(app)
    await app.client.delete(f"/api/keys/{revoked['id']}", headers=ADA)
    task = RetentionTask(app.database, Retention(events_seconds=60))
    for seconds, ids in ((50, [kept["id"], revoked["id"]]), (70, [kept["id"]])):
        await task.delete_expired(now=time.time() + seconds)
        assert [key["id"] for key in await list_keys(app)] == ids


async def test_a_service_of_one_local_user_needs_no_keys(settings: Settings) -> None:
    async with open_app(settings, FakeRunner()) as app:
        refused = await app.client.post("/api/keys", json={"name": "backend", "scopes": ["exports:read"]})
    assert assert_problem(refused, 409)["code"] == "no_authentication"
