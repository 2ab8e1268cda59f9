"""Run the service with exports on Modal: the unmodified SDK and the local control plane, on real sockets."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from infra.modal_local import ModalLocal
from service.app import create_app
from service.dispatch.runners.modal import ModalRunner
from service.http_server.server import create_server
from service.settings import Settings
from tests.flows.on_modal.callback_proxy import CallbackProxy, open_proxy
from tests.support.fakes import ThreadProber
from tests.support.live_server import MASTER, free_port, settings_on

TIMEOUT_SECONDS = 40.0
APP = "framehook"
FRAMING = {
    "quality": "draft",
    "keyframes": [{"time": 0, "x": 0, "y": 0, "width": 160, "height": 90}],
    "output_width": 160,
}
FINAL = ("complete", "error", "cancelled")
JobBody = dict[str, Any]


@dataclass
class ModalHarness:
    """A client of the service, the proxy that its runs report through, and the control plane."""

    http: httpx.AsyncClient
    plane: ModalLocal
    proxy: CallbackProxy
    settings: Settings

    async def upload(self, content: bytes) -> str:
        request_body = {"filename": "match.mp4", "size": len(content), "content_type": "video/mp4"}
        target = (await self.http.post("/api/uploads", json=request_body)).json()
        (await self.http.put(target["url"], content=content, headers=target["headers"])).raise_for_status()
        return str(target["key"])

    async def submit(self, source: bytes, **config: object) -> str:
        """Submit an export and return the job's id; `config` replaces the default one."""
        config = {"input_key": await self.upload(source), **(config or FRAMING)}
        answer = await self.http.post("/api/exports", json={"type": "framing", "config": config})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["job_id"])

    async def job(self, job_id: str) -> JobBody:
        body: JobBody = (await self.http.get(f"/api/exports/{job_id}")).json()
        return body

    async def wait_for(self, job_id: str, **wanted: object) -> JobBody:
        """Follow the stream until the job has these values, and return it."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while True:
                async with self.http.stream("GET", f"/api/exports/{job_id}/events") as events:
                    async for _line in events.aiter_lines():
                        job = await self.job(job_id)
                        if wanted.items() <= job.items():
                            return job

    async def wait_ended(self, job_id: str) -> JobBody:
        """Wait for the end of the job, check what every end has in common, and return the job."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while (job := await self.job(job_id))["status"] not in FINAL:
                async with self.http.stream("GET", f"/api/exports/{job_id}/events") as events:
                    async for _line in events.aiter_lines():
                        pass
        ends = [event["status"] for event in (await self.timeline(job_id))["events"]]
        assert [status for status in ends if status in FINAL] == [job["status"]]
        complete = job["status"] == "complete"
        download = await self.http.get(f"/api/exports/{job_id}/download")
        assert download.status_code == (200 if complete else 409)
        assert len(list(self.settings.data_dir.glob("objects/local/exports/*"))) == int(complete)
        return job

    async def timeline(self, job_id: str) -> JobBody:
        headers = {"accept": "application/json"}
        body: JobBody = (await self.http.get(f"/api/exports/{job_id}/events", headers=headers)).json()
        return body

    async def wait_call_id(self, job_id: str) -> str:
        """Wait until the job's call is known and return its id."""
        while not (call := (await self.job(job_id))["call_id"]):
            await self.wait_for(job_id, phase="starting")
        return str(call)


def settings_for(data_dir: Path, port: int, **changes: object) -> Settings:
    usual = {"modal_enabled": True, "public_url": f"http://127.0.0.1:{port}", "watch_seconds": 0.1}
    return settings_on(port, data_dir, **{**usual, **changes})


@asynccontextmanager
async def open_harness(
    plane: ModalLocal, data_dir: Path, runner: ModalRunner | None = None, **changes: object
) -> AsyncIterator[ModalHarness]:
    """Run the service in this process."""
    port = free_port()
    async with AsyncExitStack() as stack:
        proxy, address = await stack.enter_async_context(open_proxy(f"http://127.0.0.1:{port}"))
        settings = settings_for(data_dir, port, callback_url=address, **changes)
        await stack.enter_async_context(_serving(settings, runner or create_runner(plane)))
        http = httpx.AsyncClient(base_url=settings.origin, timeout=30, trust_env=False)
        yield ModalHarness(await stack.enter_async_context(http), plane, proxy, settings)


def create_runner(
    plane: ModalLocal, app: str = APP, *, kind: type[ModalRunner] = ModalRunner, spawn_seconds: float = 20
) -> ModalRunner:
    token = plane.environment["MODAL_TOKEN_ID"], plane.environment["MODAL_TOKEN_SECRET"]
    return kind(app, token, gpu="L4", max_retry_seconds=1.0, spawn_seconds=spawn_seconds)


@asynccontextmanager
async def _serving(settings: Settings, runner: ModalRunner) -> AsyncIterator[None]:
    running = create_server(
        create_app(settings, runner, source_prober=ThreadProber()), settings.host, settings.port
    )
    task = asyncio.create_task(running.serve())
    try:
        await _poll_until_ready(settings.origin)
        yield
    finally:
        running.should_exit = True
        await task


async def _poll_until_ready(origin: str) -> None:
    async with asyncio.timeout(TIMEOUT_SECONDS), httpx.AsyncClient(trust_env=False) as http:
        while True:
            try:
                await http.get(f"{origin}/healthz")
            except httpx.TransportError:
                await asyncio.sleep(0.02)
            else:
                return


class KillableService:
    """The service as a process that can be killed and started again on the same data."""

    def __init__(self, environment: dict[str, str], settings: Settings) -> None:
        self._environment = environment
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        where = ("--port", str(self._settings.port), "--data-dir", str(self._settings.data_dir))
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "service.cli.main", "serve", *where), env=self._environment
        )
        await _poll_until_ready(self._settings.origin)

    async def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        await self._process.wait()


@asynccontextmanager
async def open_killable(
    plane: ModalLocal, data_dir: Path, **changes: object
) -> AsyncIterator[tuple[ModalHarness, KillableService]]:
    """Run the service by `framehook serve`, configured by its environment only."""
    port = free_port()
    async with open_proxy(f"http://127.0.0.1:{port}") as (proxy, address):
        settings = settings_for(data_dir, port, callback_url=address, **changes)
        variables = {
            name.upper(): str(getattr(settings, name))
            for name in ("public_url", "callback_url", "modal_enabled", "watch_seconds", "silence_seconds")
        }
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        service = KillableService(
            {**kept, **plane.environment, **variables, "CALLBACK_SECRET": MASTER}, settings
        )
        await service.start()
        try:
            async with httpx.AsyncClient(base_url=settings.origin, timeout=30, trust_env=False) as http:
                yield ModalHarness(http, plane, proxy, settings), service
        finally:
            await service.kill(signal.SIGTERM)
