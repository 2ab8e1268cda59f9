"""Fakes at the edges of the process: a runner that starts nothing, and its runs."""

import asyncio
import base64
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Self

import httpx
import msgspec

from callbacks.signing import signature_headers
from gpu.errors import ExportError
from gpu.sources.describe import describe_source
from gpu.sources.probe_process import open_request
from gpu.spec import AttemptSpec, LocalFile, RemoteObject
from service.dispatch.runners import CallStatus, Failed, RunnerNotice, RunnerRefused, Running
from service.ingest.prober import UnreadableSource

CHECKSUM = "sha256:" + "0" * 64
OUTPUT: Mapping[str, Any] = {"size": 5, "checksum": CHECKSUM, "duration": 1.5, "width": 640, "height": 360}
FAILURE: Mapping[str, Any] = {"code": "no_video", "message": "The file holds no video."}


class ThreadProber:
    """Probes outputs in a thread instead of a process, since tests complete many exports."""

    async def probe(
        self, user_id: str, place: LocalFile | RemoteObject, *, output_type: str | None = None
    ) -> dict[str, Any]:
        assert output_type is None
        del user_id
        try:
            return {**await asyncio.to_thread(describe_source, open_request(place))}
        except ExportError as error:
            raise UnreadableSource(error.code, error.message) from error


class FakeRunner:
    """Records the attempts that it is given; `statuses` says what a probe of a call returns."""

    name = "local"
    gpu: str | None = None
    shares_filesystem = True

    def __init__(self, *, slots: int = 4, instance: str = "fake-") -> None:
        self.instance = instance
        self.freed = asyncio.Event()
        self.free_slots = slots
        self.max_runs: int | None = slots
        self.busy_reason = f"{slots} local workers"
        self.problem: RunnerRefused | None = None  # what a check finds
        self.notice: RunnerNotice | None = None
        self.spawned: list[AttemptSpec] = []
        self.cancelled: list[str] = []
        self.ended_calls: list[str] = []
        self.refusals: list[RunnerRefused] = []
        self.statuses: dict[str, CallStatus] = {}
        self.is_closed = False
        self.spec_arrived = asyncio.Event()  # set at each spawn

    def capacity(self) -> int:
        return self.free_slots

    def call_id_for(self, job_id: str, attempt: int) -> str:
        return f"{self.instance}{job_id}-{attempt}"

    async def spawn(self, spec: AttemptSpec) -> str:
        if self.refusals:
            raise self.refusals.pop(0)
        self.spawned.append(spec)
        self.spec_arrived.set()
        return spec.call_id

    async def probe(self, call_id: str) -> CallStatus:
        has_ended = call_id in self.cancelled or (self.is_closed and self.instance)
        ended = Failed("run_lost", "The run was cancelled.", transient=True)
        return self.statuses.get(call_id, ended if has_ended else Running())

    def drain_ended(self) -> list[str]:
        ended, self.ended_calls = self.ended_calls, []
        return ended

    async def cancel(self, call_id: str) -> None:
        self.cancelled.append(call_id)

    async def check(self) -> None:
        if self.problem is not None:
            raise self.problem

    async def close(self) -> None:
        self.is_closed = True

    async def next_spec(self, *, within_seconds: float = 10) -> AttemptSpec:
        """Wait for the oldest attempt that no test has taken yet, and return it."""
        async with asyncio.timeout(within_seconds):
            while not self.spawned:
                self.spec_arrived.clear()
                await self.spec_arrived.wait()
        return self.spawned.pop(0)


class FakeRun:
    """Posts the callbacks of an attempt, signed with the attempt's key."""

    def __init__(self, spec: AttemptSpec, client: httpx.AsyncClient) -> None:
        assert spec.callback is not None
        self.spec = spec
        self.url = httpx.URL(spec.callback.url).path
        self.key = base64.b64decode(spec.callback.key)
        self.step = 0
        self._client = client

    def at_step(self, step: int) -> Self:
        """Return the same run, whose next callback repeats the one after `step`."""
        again = type(self)(self.spec, self._client)
        again.step = step
        return again

    async def report_started(self) -> httpx.Response:
        return await self.send("export.started", phase="starting", progress=0)

    async def report_progress(self, progress: float, phase: str = "processing") -> httpx.Response:
        return await self.send("export.progress", phase=phase, progress=progress)

    async def report_completed(self, **output: object) -> httpx.Response:
        return await self.send("export.completed", phase="done", progress=100, output={**OUTPUT, **output})

    async def report_failed(self, **error: object) -> httpx.Response:
        return await self.send("export.failed", error={**FAILURE, **error})

    async def send(self, kind: str, **report: object) -> httpx.Response:
        """Post the next step; `report` replaces the default values."""
        self.step += 1
        return await self.post(self.body(kind, **report))

    async def post(self, body: bytes, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """Post these bytes, signed now unless `headers` are given."""
        signed = self.sign(body) if headers is None else headers
        return await self._client.post(self.url, content=body, headers=signed)

    def body(self, kind: str, **report: object) -> bytes:
        usual = {
            "job_id": self.spec.job_id,
            "attempt": self.spec.attempt,
            "step": self.step,
            "call_id": self.spec.call_id,
            "phase": "processing",
            "progress": 50,
            "message": "Encoding",
        }
        moment = datetime.now(UTC)
        return msgspec.json.encode({"type": kind, "timestamp": moment, "data": {**usual, **report}})

    def sign(
        self, body: bytes, *, key: bytes | None = None, message_id: str = "msg_1", age_seconds: int = 0
    ) -> dict[str, str]:
        moment = int(time.time()) - age_seconds
        return {
            **signature_headers(self.key if key is None else key, message_id, moment, body),
            "content-type": "application/json",
        }
