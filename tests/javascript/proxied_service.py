"""The service behind a faulty proxy, which can be restarted while clients are connected."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt

from service.settings import Settings, load_settings
from tests.service.conftest import JWT_SECRET
from tests.support.browser.faulty_proxy import FaultyProxy, open_proxy
from tests.support.fakes import FakeRun
from tests.support.live_server import MASTER, DurableRunner
from tests.support.stream_server import StreamServer, open_server

USER = "ada"


@dataclass
class ProxiedService:
    """What a client sees is `proxy`; `server` is the service behind it."""

    settings: Settings
    proxy: FaultyProxy
    runner: DurableRunner
    server: StreamServer
    stack: AsyncExitStack

    @property
    def url(self) -> str:
        """The address for clients."""
        return self.proxy.url

    def create_token(self, *, seconds: int = 3_600, user: str = USER) -> str:
        claims = {"sub": user, "exp": int(time.time()) + seconds}
        assert self.settings.auth_jwt_secret is not None
        return jwt.encode(claims, self.settings.auth_jwt_secret.get_secret_value(), "HS256")

    async def submit_export(self, user: str = USER, **fields: Any) -> FakeRun:
        """Submit an export and return its run, which reports without the proxy."""
        headers = {"Authorization": f"Bearer {self.create_token(user=user)}"}
        return await self.server.submit_export(user=user, headers=headers, **fields)

    async def fetch_job(self, job_id: str, user: str = USER) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.create_token(user=user)}"}
        response = await self.server.client.get(f"/api/exports/{job_id}", headers=headers)
        assert response.status_code == 200, response.text
        job: dict[str, Any] = response.json()
        return job

    async def stop(self) -> None:
        """Stop the service; the proxy then breaks each connection."""
        await self.stack.aclose()

    async def start(self) -> None:
        """Start the service again, on the same data."""
        self.server = await self.stack.enter_async_context(open_server(self.settings, self.runner))
        self.proxy.port = self.server.settings.port

    def reconnect_run(self, run: FakeRun) -> FakeRun:
        """Return a run whose reports reach the restarted service."""
        return FakeRun(run.spec, self.server.client).at_step(run.step)


def users_settings(data_dir: Path, *allowed_origins: str) -> Settings:
    """Return the settings of a service of several users with tokens, and of pages of these origins."""
    return load_settings(
        data_dir=data_dir,
        host="127.0.0.1",
        port=8000,
        callback_secret=MASTER,
        auth_jwt_secret=JWT_SECRET,
        allowed_origins=allowed_origins,
        _env_file="",
    )


@asynccontextmanager
async def open_proxied_service(settings: Settings) -> AsyncIterator[ProxiedService]:
    """Run the service of several users behind a proxy."""
    async with open_proxy(0) as proxy, AsyncExitStack() as stack:
        settings = settings.model_copy(update={"public_url": proxy.url})
        runner = DurableRunner()
        server = await stack.enter_async_context(open_server(settings, runner))
        proxy.port = server.settings.port
        yield ProxiedService(settings, proxy, runner, server, stack)
