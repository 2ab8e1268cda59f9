"""A page that was written for a hand-written backend, through whole sessions with the service, unmodified.

It makes the ids of its exports, opens a socket before it submits, keeps a store by id, recovers after a reload from the
lists of active and unacknowledged exports, and acknowledges with a bare list.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from gpu.spec import LocalFile
from service.settings import Settings
from tests.support.app_harness import EXPORTED, FRAMING
from tests.support.fakes import FakeRun
from tests.support.stream_server import StreamServer, open_server

pytestmark = pytest.mark.anyio

Entry = dict[str, Any]
RUNNING = ("pending", "processing")


@dataclass
class Page:
    """The page from its load to its reload: what it shows is in `exports`, by the id under which it knows each."""

    server: StreamServer
    exports: dict[str, Entry] = field(default_factory=dict)
    answering: set[str] = field(default_factory=set)
    closed: dict[str, int] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def recover(self) -> list[str]:
        """Do what the page does on load; return the ids that ended while it was away."""
        assert (await self.server.client.get("/api/health")).status_code == 200
        for job in await self._list("active"):
            self._show(job["job_id"], job["status"], projectId=job["project_id"], type=job["type"])
            status = await self.server.client.get(f"/api/exports/{job['job_id']}/modal-status")
            assert not status.is_success  # the page then takes the export for running
            await self.open_socket(job["job_id"])
        ended = await self._list("unacknowledged")
        for job in ended:
            self._show(
                job["job_id"], job["status"], error=job["error"], outputFilename=job["output_filename"]
            )
        ids = [job["job_id"] for job in ended]
        if ids:
            seen = await self.server.client.post("/api/exports/acknowledge", json=ids)
            assert seen.status_code == 200
        return ids

    async def start_export(self, export_id: str, project_id: int) -> None:
        """Open the socket, then submit."""
        self._show(export_id, "pending", projectId=project_id)
        await self.open_socket(export_id)
        body = {"type": "framing", "config": {"input_key": await self._upload(), **FRAMING}}
        answer = await self.server.client.post(
            "/api/exports", json=body | {"export_id": export_id, "project_id": project_id}
        )
        assert answer.status_code == 202, answer.text
        assert answer.json()["status"] == "pending"

    async def open_socket(self, export_id: str) -> None:
        """Open a socket and check that it answers, before there is anything to say."""
        url = f"ws://{self.server.address}/ws/export/{export_id}"
        socket = await self._stack.enter_async_context(connect(url))
        await socket.send("ping")
        reading = asyncio.create_task(self._read(export_id, socket))
        self._stack.callback(reading.cancel)
        await self._wait_until(lambda: export_id in self.answering)

    async def wait_for(self, export_id: str, status: str) -> Entry:
        await self._wait_until(lambda: self.exports[export_id]["status"] == status)
        return self.exports[export_id]

    async def wait_closed(self, export_id: str) -> int:
        await self._wait_until(lambda: export_id in self.closed)
        return self.closed[export_id]

    async def _wait_until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not holds():
                self.changed.clear()
                await self.changed.wait()

    async def _read(self, export_id: str, socket: ClientConnection) -> None:
        try:
            async for text in socket:
                if text == "pong":
                    self.answering.add(export_id)
                    self.changed.set()
                else:
                    message = json.loads(text)
                    self._show(export_id, **{name: message[name] for name in SOCKET_FIELDS})
        except ConnectionClosed:
            pass
        self.closed[export_id] = socket.close_code or 0
        self.changed.set()

    def _show(self, export_id: str, status: str, **fields: Any) -> None:
        self.exports[export_id] = self.exports.get(export_id, {}) | {"status": status} | fields
        self.changed.set()

    async def _list(self, name: str) -> list[Entry]:
        answer = await self.server.client.get(f"/api/exports/{name}")
        exports: list[Entry] = answer.json()["exports"]
        return exports

    async def _upload(self) -> str:
        body = {"filename": "match.mp4", "size": 5, "content_type": "video/mp4"}
        target = (await self.server.client.post("/api/uploads", json=body)).json()
        headers = {"content-type": "video/mp4"}
        stored = await self.server.client.put(target["url"], content=b"video", headers=headers)
        assert stored.status_code == 201, stored.text
        return str(target["key"])

    async def close(self) -> None:
        await self._stack.aclose()


SOCKET_FIELDS = (
    *("status", "progress", "message", "type", "done", "error"),
    *("projectId", "projectName", "outputFilename"),
)


@pytest.fixture
async def server(settings: Settings, stack: AsyncExitStack) -> StreamServer:
    changed = settings.model_copy(update={"legacy_frontend": True})
    return await stack.enter_async_context(open_server(changed))


@asynccontextmanager
async def load_page(server: StreamServer) -> AsyncIterator[Page]:
    """Load the page; the end of the block is a closed tab, in the middle of its work."""
    page = Page(server)
    try:
        yield page
    finally:
        await page.close()


async def next_run(server: StreamServer) -> FakeRun:
    return FakeRun(await server.runner.next_spec(), server.client)


def write_output(run: FakeRun) -> None:
    target = run.spec.transfer.output
    assert isinstance(target, LocalFile)
    path = Path(target.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(EXPORTED)


async def complete(run: FakeRun) -> None:
    write_output(run)
    checksum = f"sha256:{hashlib.sha256(EXPORTED).hexdigest()}"
    answer = await run.report_completed(size=len(EXPORTED), checksum=checksum)
    assert answer.status_code == 200, answer.text


async def test_a_page_follows_an_export_from_before_its_creation_to_its_end(server: StreamServer) -> None:
    async with load_page(server) as page:
        assert await page.recover() == []
        await page.start_export("export_1764460800_a1b2", 7)
        run = await next_run(server)
        await run.report_started()
        await run.report_progress(40)
        shown = await page.wait_for("export_1764460800_a1b2", "processing")
        assert (shown["projectId"], shown["type"], shown["error"]) == (7, "framing", None)
        await run.report_failed()
        failed = await page.wait_for("export_1764460800_a1b2", "error")
        assert (failed["error"], failed["done"]) == ("The file holds no video.", True)
        assert await page.wait_closed("export_1764460800_a1b2") == 1000


async def test_a_page_that_is_reloaded_recovers_what_runs_and_what_has_ended(server: StreamServer) -> None:
    async with load_page(server) as page:
        await page.start_export("export-of-project-7", 7)
        first = await next_run(server)
        await page.start_export("export-of-project-8", 8)
        second = await next_run(server)
        await first.report_started()
        await page.wait_for("export-of-project-7", "processing")
    await second.report_failed()

    async with load_page(server) as page:
        assert await page.recover() == [second.spec.job_id]
        assert page.exports[second.spec.job_id]["error"] == "The file holds no video."
        running = page.exports[first.spec.job_id]
        assert (running["status"] in RUNNING, running["projectId"], running["type"]) == (True, 7, "framing")
        await first.report_progress(60)
        cancelled = await server.client.delete("/api/exports/export-of-project-7")
        assert cancelled.status_code == 202
        shown = await page.wait_for(first.spec.job_id, "error")
        assert (shown["error"], shown["projectId"]) == ("The export was cancelled.", 7)

    async with load_page(server) as page:
        assert await page.recover() == [first.spec.job_id]
        assert await page.recover() == []


async def test_a_page_sees_the_file_s_name_and_the_lists_of_its_projects(server: StreamServer) -> None:
    async with load_page(server) as page:
        await page.start_export("export-of-project-7", 7)
        run = await next_run(server)
        await page.start_export("export-of-project-8", 8)
        await complete(run)
        shown = await page.wait_for("export-of-project-7", "complete")
        assert (shown["outputFilename"], shown["progress"]) == (f"{run.spec.job_id}.mp4", 100.0)
    for project in (7, 8):
        answer = await server.client.get(f"/api/exports/project/{project}")
        assert [job["export_id"] for job in answer.json()["exports"]] == [f"export-of-project-{project}"]
    seen = await server.client.post("/api/exports/acknowledge")
    assert [job["export_id"] for job in seen.json()["exports"]] == ["export-of-project-7"]
    assert (await server.client.get("/api/exports/unacknowledged")).json()["exports"] == []
