"""`framehook keys`: an operator's view of the keys, in the database."""

import asyncio
import json

import pytest

from infra.database.factory import open_database
from service.clock import Clock
from service.keys.key_format import is_key
from service.keys.key_ring import KeyRing
from service.settings import Settings
from tests.service.cli.commands import CommandResult, run
from tests.service.conftest import JWT_SECRET

pytestmark = pytest.mark.anyio


async def run_keys(settings: Settings, *words: str, **changes: str) -> CommandResult:
    environment = {"DATABASE_URL": str(settings.database_url), "DATA_DIR": str(settings.data_dir)}
    return await asyncio.to_thread(run, "keys", *words, **environment, AUTH_JWT_SECRET=JWT_SECRET, **changes)


async def test_an_operator_creates_lists_and_revokes_keys(any_settings: Settings) -> None:
    scopes = ("--scope", "exports:read", "--scope", "usage:read")
    created = await run_keys(any_settings, "create", "ada", "--name", "backend", *scopes, "--days", "2")
    key = created.out.removesuffix("\n")
    assert (created.status, is_key(key)) == (0, True), created.err
    assert "not shown again" in created.err
    other = json.loads((await run_keys(any_settings, "create", "bob", "--name", "x", *scopes, "--json")).out)
    listed = json.loads((await run_keys(any_settings, "list", "ada", "--json")).out)["keys"]
    assert [(shown["user"], shown["name"], shown["hint"]) for shown in listed] == [
        ("ada", "backend", key[:7])
    ]
    database = open_database(str(any_settings.database_url))
    try:
        ring = KeyRing(database, Clock())
        active = await ring.find(key)
        assert active is not None
        assert (active.user_id, sorted(active.scopes)) == ("ada", ["exports:read", "usage:read"])
        assert (await run_keys(any_settings, "revoke", listed[0]["id"])).status == 0
        await ring.check()
        assert active.is_revoked
    finally:
        await database.close()
    again = await run_keys(any_settings, "revoke", listed[0]["id"])
    assert (again.status, "no key" in again.err) == (3, True)
    table = (await run_keys(any_settings, "list")).out
    assert [word in table for word in (listed[0]["id"], other["id"], "revoked", "active")] == [True] * 4
    assert key not in table


async def test_what_the_command_refuses(any_settings: Settings) -> None:
    words = ("create", "ada", "--name", "x", "--scope", "exports:read")
    assert (await run_keys(any_settings, "create", "ada", "--name", "x")).status == 2  # no scope
    assert (await run_keys(any_settings, "create", "a\n", *words[2:])).status == 2
    assert (await run_keys(any_settings, "create", "ada", "--name", "x\ny", *words[4:])).status == 2
    local = await asyncio.to_thread(run, "keys", *words, DATA_DIR=str(any_settings.data_dir))
    assert (local.status, "AUTH_JWT_SECRET" in local.err) == (78, True)
    failed = await asyncio.to_thread(run, "keys", "list", DATA_DIR=str(any_settings.data_dir / "none"))
    assert (failed.status, "framehook db upgrade" in failed.err) == (1, True)


def test_no_token_is_made_for_a_user_whom_the_service_refuses() -> None:
    for user in ("", "a\nb", "\udcff"):
        result = run("token", user, AUTH_JWT_SECRET=JWT_SECRET)
        assert (result.status, result.out, "USER must have" in result.err) == (2, "", True)
