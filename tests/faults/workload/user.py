"""A user who submits, cancels and retries through the proxy, and repeats what fails."""

import asyncio
import itertools
import time
from collections.abc import Sequence
from typing import Any

import httpx

from tests.faults.checkers.violations import History, RequestUnanswered
from tests.faults.cluster.cluster import Cluster

PATIENCE_SECONDS = 60.0
PAUSE_SECONDS = 0.2
KEYFRAMES = [{"time": 0, "x": 0, "y": 0, "width": 64, "height": 64}]


class User:
    """The requests of one user, and checks of what their answers promise."""

    def __init__(self, cluster: Cluster, bearer: str, history: History) -> None:
        self._cluster = cluster
        self._history = history
        self._headers = {"Authorization": f"Bearer {bearer}"}
        self._submitted: dict[int, asyncio.Future[str]] = {}

    async def submit(self, index: int, clip: str) -> str:
        """Submit until it is accepted; return the id of the job."""
        done = self._submitted.setdefault(index, asyncio.get_running_loop().create_future())
        config = {"input_key": f"clips/{clip}.mp4", "keyframes": KEYFRAMES, "quality": "draft"}
        key = f"key-{index}"
        response = await self._request_until(
            "POST",
            "/api/exports",
            202,
            json={"type": "framing", "config": config},
            headers={"Idempotency-Key": key},
        )
        job_id = str(response.json()["job_id"])
        self._history.accepted[key] = job_id
        row = await self._cluster.database.wait_for_row(job_id)
        self._history.require(row is not None, f"job {job_id[-6:]} was accepted, and there is no row")
        done.set_result(job_id)
        return job_id

    async def cancel(self, index: int) -> None:
        job_id = await self._wait_for_job(index)
        response = await self._request_until("DELETE", f"/api/exports/{job_id}", 202, 409)
        row = await self._cluster.database.wait_for_row(job_id)
        if response.status_code == 202 and row is not None:
            sentence = f"job {job_id[-6:]} was cancelled, and the row says {row}"
            later = row.attempt > response.json()["attempt"]
            self._history.require(later or row.status == "cancelled", sentence)

    async def retry(self, index: int) -> None:
        """Ask for another attempt; a lost response may have been a yes."""
        job_id = await self._wait_for_job(index)
        self._history.retried[job_id] = self._history.retried.get(job_id, 0) + 1
        response = await self._try_request("POST", f"/api/exports/{job_id}/retry")
        if response is None or response.status_code != 202:
            if response is not None and response.status_code == 409:
                self._history.retried[job_id] -= 1
            return
        row = await self._cluster.database.wait_for_row(job_id)
        has_attempt = row is not None and row.attempt >= response.json()["attempt"]
        self._history.require(has_attempt, f"job {job_id[-6:]} was to be retried, and the row says {row}")

    async def create_endpoint(self, url: str, events: Sequence[str]) -> dict[str, Any]:
        """Register an endpoint; a lost response leaves another one behind, with another URL."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        for number in itertools.count():
            body = {"url": f"{url}?{number}", "events": list(events)}
            response = await self._try_request("POST", "/api/webhooks", json=body)
            if response is not None and response.status_code == 201:
                endpoint: dict[str, Any] = response.json()
                return endpoint
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(PAUSE_SECONDS)
        raise RequestUnanswered(f"no endpoint was registered within {PATIENCE_SECONDS} s: {response}")

    async def recover(self, endpoint_id: str, since: str) -> None:
        """Ask for outcomes that the endpoint has not accepted."""
        await self._try_request("POST", f"/api/webhooks/{endpoint_id}/recover", json={"since": since})

    async def _wait_for_job(self, index: int) -> str:
        return await self._submitted.setdefault(index, asyncio.get_running_loop().create_future())

    async def _request_until(self, method: str, path: str, *statuses: int, **options: Any) -> httpx.Response:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            response = await self._try_request(method, path, **options)
            if response is not None and response.status_code in statuses:
                return response
            await asyncio.sleep(PAUSE_SECONDS)
        raise RequestUnanswered(
            f"{method} {path}: no acceptable response within {PATIENCE_SECONDS} s: {response}"
        )

    async def _try_request(self, method: str, path: str, **options: Any) -> httpx.Response | None:
        headers = {**self._headers, **options.pop("headers", {})}
        url = f"http://127.0.0.1:{self._cluster.proxy.port}{path}"
        try:
            response = await self._cluster.http.request(method, url, headers=headers, **options)
        except httpx.HTTPError:
            return None
        self._history.count(f"{method} {response.status_code}")
        expected = response.status_code in (200, 201, 202, 409, 502, 503)
        self._history.require(expected, f"{method} {path}: {response.status_code} {response.text[:200]}")
        return response
