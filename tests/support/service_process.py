"""Run `framehook serve` as a process that tests can stop, kill and start again."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.support.live_server import free_port

TIMEOUT_SECONDS = 90
CROP = {"time": 0, "x": 420, "y": 0, "width": 1080, "height": 1080}

Job = dict[str, Any]


def clean_environment(**changes: str) -> dict[str, str]:
    """Return this process's environment without settings of the service, and with `changes`."""
    kept = ("PATH", "HOME", "PYTHONPATH", "TMPDIR", "LD_LIBRARY_PATH")
    return {name: os.environ[name] for name in kept if name in os.environ} | changes


@dataclass
class ServiceProcess:
    """A running service and a client of it; `folder` contains its data, and one log over all restarts."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    port: int = 0
    process: "subprocess.Popen[bytes] | None" = None

    async def __aenter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=30, trust_env=False)
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.aclose()
        self.stop(signal.SIGTERM)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def scratch(self) -> list[str]:
        """The folders of runs."""
        return sorted(path.name for path in (self.folder / "var" / "scratch").iterdir())

    async def start(self) -> None:
        """Start the service and wait until it is ready."""
        self._launch()
        await wait_until(self._ready, self)

    def _launch(self) -> None:
        own = {"PORT": str(self.port), "DATA_DIR": str(self.folder / "var"), "SILENCE_SECONDS": "2"}
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "service.cli.main", "serve"],
                env=clean_environment(**own, LOCAL_WORKERS="2", **self.settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                umask=0,  # what it writes must be private nevertheless
            )

    def stop(self, number: signal.Signals) -> int:
        """Send the signal, wait for the end and return the exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(TIMEOUT_SECONDS)

    async def upload(self, content: bytes, name: str = "match.mp4") -> str:
        body = {"filename": name, "size": len(content), "content_type": "video/mp4"}
        place = (await self.http.post("/api/uploads", json=body)).json()
        answer = await self.http.put(place["url"], content=content, headers=place["headers"])
        assert answer.status_code == 201, answer.text
        return str(place["key"])

    async def submit_export(self, config: Job, kind: str = "framing") -> str:
        answer = await self.http.post("/api/exports", json={"type": kind, "config": config})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["job_id"])

    async def get_export(self, job_id: str) -> Job:
        job: Job = (await self.http.get(f"/api/exports/{job_id}")).json()
        return job

    async def wait_for_export(self, job_id: str, holds: Callable[[Job], bool]) -> Job:
        """Wait until the job is as wanted and return it; fail if it ends in another state."""
        job: Job = {}

        async def has_changed() -> bool:
            nonlocal job
            job = await self.get_export(job_id)
            return holds(job) or job["status"] in ("complete", "error", "cancelled")

        await wait_until(has_changed, self)
        assert holds(job), job
        return job

    async def wait_until_encoding(self, job_id: str, attempt: int = 1) -> Job:
        """Wait until the job is being encoded and return it."""
        return await self.wait_for_export(
            job_id,
            lambda job: (
                job["attempt"] == attempt and job["phase"] == "processing" and 1 < job["progress"] < 90
            ),
        )

    async def wait_until_ended(self, job_id: str) -> Job:
        return await self.wait_for_export(
            job_id, lambda job: job["status"] in ("complete", "error", "cancelled")
        )

    async def get_timeline(self, job_id: str) -> list[Job]:
        headers = {"accept": "application/json"}
        answer = await self.http.get(f"/api/exports/{job_id}/events", headers=headers)
        events: list[Job] = answer.json()["events"]
        return events

    async def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log
        try:
            return (await self.http.get("/readyz")).status_code == 200
        except httpx.TransportError:
            return False


async def wait_until(holds: "Callable[[], Any]", service: ServiceProcess | None = None) -> None:
    """Poll until `holds` returns true; it may be a coroutine function."""
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while True:
                result = holds()
                if (await result) if asyncio.iscoroutine(result) else result:
                    return
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(service.log[-4_000:] if service else "the condition never became true") from None
