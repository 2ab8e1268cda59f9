"""The whole service in this process, and a client for it."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from starlette.types import Receive, Scope, Send

from gpu.spec import AttemptSpec, LocalFile
from infra.database.base import Database
from service.api.state import State
from service.app import create_app
from service.clock import Clock
from service.ingest.output_check import SourceProber
from service.settings import Settings
from tests.support.fakes import FakeRun, FakeRunner, ThreadProber
from tests.support.job_factory import Row, fetch_events, fetch_jobs
from tests.support.openapi.described_answers import check_answer
from tests.support.small_mp4 import make_video

EXPORTED = make_video(b"the exported video")
SOURCE = "uploads/match.mp4"
FRAMING = {"keyframes": [{"time": 0, "x": 0, "y": 0, "width": 320, "height": 180}]}


@dataclass
class AppHarness:
    """A client of the running service, and direct access to its parts."""

    client: httpx.AsyncClient
    runner: FakeRunner
    state: State
    settings: Settings

    @property
    def database(self) -> Database:
        return self.state["database"]

    def put_object(self, key: str = SOURCE, content: bytes = b"video", *, user: str = "local") -> None:
        """Store an object of the user."""
        path = self.state["storage"].local_path(user, key)
        assert path is not None
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def export_body(self, **changes: object) -> dict[str, Any]:
        """Return the body of a request for an export."""
        config = {"input_key": SOURCE, **FRAMING}
        return {"type": "framing", "config": config} | changes

    async def submit_export(self, *, user: str = "local", **request: Any) -> dict[str, Any]:
        """Submit an export, assert that it is accepted, and return the job."""
        self.put_object(user=user)
        answer = await self.client.post("/api/exports", **({"json": self.export_body()} | request))
        assert answer.status_code == 202, answer.text
        job: dict[str, Any] = answer.json()
        return job

    async def next_run(self) -> FakeRun:
        """Wait for the next attempt that the dispatcher starts, and return its run."""
        return self.run_for(await self.runner.next_spec())

    def run_for(self, spec: AttemptSpec) -> FakeRun:
        return FakeRun(spec, self.client)

    async def complete_run(self, run: FakeRun, content: bytes = EXPORTED) -> httpx.Response:
        """Write the output of the run, and report completion."""
        self.put_output(run, content)
        checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
        return await run.report_completed(size=len(content), checksum=checksum)

    def put_output(self, run: FakeRun, content: bytes) -> None:
        target = run.spec.transfer.output
        assert isinstance(target, LocalFile)
        path = Path(target.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    async def fetch_row(self, job_id: str) -> Row:
        return (await fetch_jobs(self.database))[job_id]

    async def fetch_timeline(self, job_id: str) -> list[Row]:
        return [event for event in await fetch_events(self.database) if event["job_id"] == job_id]


@asynccontextmanager
async def open_app(
    settings: Settings,
    runner: FakeRunner,
    clock: Clock | None = None,
    prober: SourceProber | None = None,
) -> AsyncIterator[AppHarness]:
    """Run the application with all its loops, behind an in-process transport."""
    app = create_app(settings, runner, clock, prober or ThreadProber(), source_prober=ThreadProber())
    async with app.router.lifespan_context(app) as state:

        async def app_with_state(scope: Scope, receive: Receive, send: Send) -> None:
            await app({**scope, "state": dict(state or {})}, receive, send)

        transport = httpx.ASGITransport(app_with_state)
        hooks = (
            [] if settings.legacy_frontend else [check_answer]
        )  # the document does not describe its shapes
        async with httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1:8000", event_hooks={"response": hooks}
        ) as client:
            yield AppHarness(client, runner, state, settings)  # type: ignore[arg-type]
