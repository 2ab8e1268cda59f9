"""A user who does not take a failure for an answer: submits, cancels and retries through the balancer."""

import asyncio
import itertools
import time
from collections.abc import Sequence
from typing import Any

import httpx

from tests.faults.checkers.violations import Record, Unanswered
from tests.faults.cluster.cluster import World

PATIENCE_SECONDS = 60.0
PAUSE_SECONDS = 0.2
KEYFRAMES = [{"time": 0, "x": 0, "y": 0, "width": 64, "height": 64}]


class User:
    """One user's requests, and what the answers promise."""

    def __init__(self, world: World, bearer: str, record: Record) -> None:
        self._world = world
        self._record = record
        self._headers = {"Authorization": f"Bearer {bearer}"}
        self._submitted: dict[int, asyncio.Future[str]] = {}

    async def submit(self, index: int, clip: str) -> str:
        """Have an export accepted, however often that takes; the job's id."""
        done = self._submitted.setdefault(index, asyncio.get_running_loop().create_future())
        config = {"input_key": f"clips/{clip}.mp4", "keyframes": KEYFRAMES, "quality": "draft"}
        key = f"key-{index}"
        answer = await self._insist(
            "POST",
            "/api/exports",
            202,
            json={"type": "framing", "config": config},
            headers={"Idempotency-Key": key},
        )
        job_id = str(answer.json()["job_id"])
        self._record.accepted[key] = job_id
        row = await self._world.ledger.surely(job_id)
        self._record.require(row is not None, f"job {job_id[-6:]} was accepted, and there is no row")
        done.set_result(job_id)
        return job_id

    async def cancel(self, index: int) -> None:
        job_id = await self._job(index)
        answer = await self._insist("DELETE", f"/api/exports/{job_id}", 202, 409)
        row = await self._world.ledger.surely(job_id)
        if answer.status_code == 202 and row is not None:
            told = f"job {job_id[-6:]} was cancelled, and the row says {row}"
            later = row.attempt > answer.json()["attempt"]
            self._record.require(later or row.status == "cancelled", told)

    async def retry(self, index: int) -> None:
        """Ask for another attempt; an answer that is lost may have been a yes."""
        job_id = await self._job(index)
        self._record.retried[job_id] = self._record.retried.get(job_id, 0) + 1
        answer = await self._tried("POST", f"/api/exports/{job_id}/retry")
        if answer is None or answer.status_code != 202:
            if answer is not None and answer.status_code == 409:
                self._record.retried[job_id] -= 1
            return
        row = await self._world.ledger.surely(job_id)
        kept = row is not None and row.attempt >= answer.json()["attempt"]
        self._record.require(kept, f"job {job_id[-6:]} was to be retried, and the row says {row}")

    async def endpoint(self, url: str, events: Sequence[str]) -> dict[str, Any]:
        """An endpoint for webhooks, as it was answered; a lost answer leaves another one behind, with another URL."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        for number in itertools.count():
            body = {"url": f"{url}?{number}", "events": list(events)}
            answer = await self._tried("POST", "/api/webhooks", json=body)
            if answer is not None and answer.status_code == 201:
                made: dict[str, Any] = answer.json()
                return made
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(PAUSE_SECONDS)
        raise Unanswered(f"no endpoint was made within {PATIENCE_SECONDS} s: {answer}")

    async def recover(self, endpoint_id: str, since: str) -> None:
        """Ask for the ends of exports that the endpoint has not taken."""
        await self._tried("POST", f"/api/webhooks/{endpoint_id}/recover", json={"since": since})

    async def _job(self, index: int) -> str:
        return await self._submitted.setdefault(index, asyncio.get_running_loop().create_future())

    async def _insist(self, method: str, path: str, *wanted: int, **options: Any) -> httpx.Response:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            answer = await self._tried(method, path, **options)
            if answer is not None and answer.status_code in wanted:
                return answer
            await asyncio.sleep(PAUSE_SECONDS)
        raise Unanswered(f"{method} {path}: no answer that is wanted within {PATIENCE_SECONDS} s: {answer}")

    async def _tried(self, method: str, path: str, **options: Any) -> httpx.Response | None:
        headers = {**self._headers, **options.pop("headers", {})}
        url = f"http://127.0.0.1:{self._world.proxy.port}{path}"
        try:
            answer = await self._world.http.request(method, url, headers=headers, **options)
        except httpx.HTTPError:
            return None
        self._record.count(f"{method} {answer.status_code}")
        passing = answer.status_code in (200, 201, 202, 409, 502, 503)
        self._record.require(passing, f"{method} {path}: {answer.status_code} {answer.text[:200]}")
        return answer
