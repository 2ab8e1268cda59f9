"""API keys through the clients: created with a token, used in its place, listed and revoked."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from framehook import Forbidden, Invalid, NotFound, Unauthenticated
from tests.service.conftest import JWT_SECRET, token
from tests.service.python.any_client import ClientFactory
from tests.support.live_server import DurableRunner, free_port, serve_app, settings_on

pytestmark = pytest.mark.anyio


async def test_a_key_is_created_used_listed_and_revoked(clients: ClientFactory, data_dir: Path) -> None:
    settings = settings_on(free_port(), data_dir, auth_jwt_secret=SecretStr(JWT_SECRET))
    async with serve_app(settings, DurableRunner()) as server:
        owner = clients.open(server.url, token("ada"))
        expires_at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=2)
        created = await owner.call(
            "create_key", "backend", ["uploads:read", "exports:read"], expires_at=expires_at
        )
        assert created.key.startswith(created.hint)
        assert (created.name, created.scopes) == ("backend", ("exports:read", "uploads:read"))
        assert (created.expires_at, created.last_used_at, created.revoked_at) == (expires_at, None, None)
        forever = await owner.call("create_key", "report", ("usage:read",))
        assert forever.expires_at is None
        program = clients.open(server.url, created.key)
        assert await program.call("list_active") == ()
        for method, *arguments in (("create_key", "x", ["usage:read"]), ("list_keys",)):
            with pytest.raises(Forbidden):
                await program.call(method, *arguments)
        listed = await owner.call("list_keys")
        assert [(key.id, key.key) for key in listed] == [(created.id, None), (forever.id, None)]
        await owner.call("revoke_key", created)
        await owner.call("revoke_key", created.id)
        assert [key.revoked_at is None for key in await owner.call("list_keys")] == [False, True]
        with pytest.raises(Unauthenticated):
            await program.call("list_active")
        with pytest.raises(NotFound):
            await owner.call("revoke_key", "key_none")
        with pytest.raises(Invalid) as caught:
            await owner.call("create_key", "x", ["exports:erase"])
        assert caught.value.errors[0].name.startswith("scopes")
