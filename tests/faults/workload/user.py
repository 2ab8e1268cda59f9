"""A user who submits, cancels, retries and erases through the proxy, and repeats what fails."""

import asyncio
import time
from typing import Any

import httpx

from tests.faults.checkers.violations import History, RequestUnanswered
from tests.faults.cluster.cluster import Cluster
from tests.faults.schedule import Step

PATIENCE_SECONDS = 60.0
"""How long a request is repeated after the last start of a replica."""
PAUSE_SECONDS = 0.2
KEYFRAMES = [{"time": 0, "x": 0, "y": 0, "width": 64, "height": 64}]
NO_BUDGET = 429
GONE = 410
JobId = str | None
"""None for an export that was not accepted, because the budget of the day was used up."""


class User:
    """The requests of one user, and checks of what their answers promise."""

    def __init__(self, cluster: Cluster, user_id: str, bearer: str, history: History) -> None:
        self.history = history
        self.database = cluster.database
        self._cluster = cluster
        self._user_id = user_id
        self._headers = {"Authorization": f"Bearer {bearer}"}
        self._submitted: dict[int, asyncio.Future[JobId]] = {}

    async def submit(self, step: Step) -> JobId:
        """Submit until it is accepted; return the id of the job."""
        key = f"key-{step.index}"
        response = await self.request_until(
            "POST",
            "/api/exports",
            202,
            NO_BUDGET,
            json=to_body(step, step.clip),
            headers={"Idempotency-Key": key},
        )
        job_id = None if response.status_code == NO_BUDGET else str(response.json()["job_id"])
        if job_id is not None:
            self.history.accepted[key] = job_id
            row = await self.database.wait_for_row(job_id)
            self.history.require(row is not None, f"job {job_id[-6:]} was accepted, and there is no row")
        self.note_submitted(step.index, job_id)
        return job_id

    def note_submitted(self, index: int, job_id: JobId) -> None:
        """Let what waits for this export go on."""
        self._future(index).set_result(job_id)

    async def cancel(self, index: int) -> None:
        job_id = await self.wait_for_job(index)
        if job_id is None:
            return
        response = await self.request_until("DELETE", f"/api/exports/{job_id}", 202, 409, GONE)
        row = await self.database.wait_for_row(job_id)
        if response.status_code == 202 and row is not None:
            sentence = f"job {job_id[-6:]} was cancelled, and the row says {row}"
            later = row.attempt > response.json()["attempt"]
            self.history.require(later or row.status == "cancelled", sentence)

    async def retry(self, index: int) -> None:
        """Ask for another attempt; a lost response may have been a yes."""
        job_id = await self.wait_for_job(index)
        if job_id is None:
            return
        self.history.retried[job_id] = self.history.retried.get(job_id, 0) + 1
        response = await self.try_request("POST", f"/api/exports/{job_id}/retry")
        if response is None or response.status_code != 202:
            if response is not None and response.status_code in (409, GONE, NO_BUDGET):
                self.history.retried[job_id] -= 1
            return
        row = await self.database.wait_for_row(job_id)
        if row is not None or job_id not in self.history.removals:
            has_attempt = row is not None and row.attempt >= response.json()["attempt"]
            self.history.require(has_attempt, f"job {job_id[-6:]} was to be retried, and the row says {row}")

    async def purge(self, index: int) -> None:
        """Erase an export in any state, until that is answered."""
        job_id = await self.wait_for_job(index)
        if job_id is None:
            return
        removal = self.history.begin_removal(job_id)
        await self.request_until("DELETE", f"/api/exports/{job_id}?purge=true", 204)
        removal.answered_at = time.monotonic()
        row = await self.database.wait_for_row(job_id)
        self.history.require(row is None, f"job {job_id[-6:]} was erased, and the row says {row}")

    async def wait_for_job(self, index: int) -> JobId:
        """Return the id of an export once it was answered."""
        return await self._future(index)

    def _future(self, index: int) -> asyncio.Future[JobId]:
        return self._submitted.setdefault(index, asyncio.get_running_loop().create_future())

    async def request_until(self, method: str, path: str, *statuses: int, **options: Any) -> httpx.Response:
        """Repeat a request until its answer has one of these statuses. Raises RequestUnanswered."""
        began = time.monotonic()
        while time.monotonic() < max(began, self._cluster.started_at) + PATIENCE_SECONDS:
            response = await self.try_request(method, path, **options)
            if response is not None and response.status_code in statuses:
                return response
            await asyncio.sleep(PAUSE_SECONDS)
        raise RequestUnanswered(
            f"{method} {path}: no acceptable response within {PATIENCE_SECONDS} s: {response}"
        )

    async def try_request(self, method: str, path: str, **options: Any) -> httpx.Response | None:
        """Send a request once; return None if there was no answer."""
        headers = {**self._headers, **options.pop("headers", {})}
        url = f"http://127.0.0.1:{self._cluster.proxy.port}{path}"
        try:
            response = await self._cluster.http.request(method, url, headers=headers, **options)
        except httpx.HTTPError:
            return None
        self.history.count(f"{method} {response.status_code}")
        sentence = f"{method} {path}: {response.status_code} {response.text[:200]}"
        self.history.require(await self._is_expected(path, response), sentence)
        return response

    async def _is_expected(self, path: str, response: httpx.Response) -> bool:
        if response.status_code == GONE:
            return path.split("/")[3].partition("?")[0] in self.history.removals
        if response.status_code == NO_BUDGET:
            is_budget = response.json().get("code") == "budget_exceeded"
            return is_budget and await self._cluster.budget_checker.has_spent_day(self._user_id)
        return response.status_code in (200, 201, 202, 204, 409, 502, 503)


def to_body(step: Step, clip: str) -> dict[str, Any]:
    """Return the request for an export of a clip, with the limits of the step."""
    config = {"input_key": f"clips/{clip}.mp4", "keyframes": KEYFRAMES, "quality": "draft"}
    body: dict[str, Any] = {"type": "framing", "config": config}
    if step.limit_usd:
        body["max_cost_usd"] = step.limit_usd
    if step.days:
        body["expires_in_days"] = step.days
    return body
