"""Simulated runs: post a function's callbacks until they are committed."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec

from callbacks.signing import derive_attempt_key, signature_headers
from tests.faults.checkers.database_reader import DatabaseReader, Row

PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 0.3
REPORTS: Sequence[tuple[str, dict[str, Any]]] = (
    ("export.started", {"phase": "starting", "progress": 0}),
    ("export.progress", {"phase": "processing", "progress": 30}),
    ("export.progress", {"phase": "processing", "progress": 60}),
    ("export.failed", {"error": {"code": "no_video", "message": "The file holds no video."}}),
)
"""An export that fails, as it is told of."""


class CallbackClient:
    """Sends requests to any replica until one answers."""

    def __init__(self, ports: Sequence[int], bearer: str, chance: random.Random) -> None:
        self.http = httpx.AsyncClient(
            trust_env=False, timeout=5, limits=httpx.Limits(max_keepalive_connections=0)
        )
        self.chance = chance
        self._ports = ports
        self._headers = {"Authorization": f"Bearer {bearer}"}

    async def request_until(
        self,
        method: str,
        path: str,
        *statuses: int,
        sign: Callable[[], dict[str, str]] | None = None,
        **options: Any,
    ) -> httpx.Response:
        """Return the first response with one of these statuses; `sign` returns the headers of each request."""
        while True:
            response = await self.try_request(method, path, **options | ({"headers": sign()} if sign else {}))
            if response is not None and response.status_code in statuses:
                return response
            # A clock that was set since makes a signature too old.
            is_temporary = response is None or response.status_code in (
                409,
                502,
                503,
                *([401] if sign else []),
            )
            assert is_temporary, response and response.text
            await asyncio.sleep(PAUSE_SECONDS)

    async def try_request(self, method: str, path: str, **options: Any) -> httpx.Response | None:
        """Return one response, or None if the replica is gone."""
        url = f"http://127.0.0.1:{self.chance.choice(self._ports)}{path}"
        headers = self._headers | options.pop("headers", {})
        try:
            return await self.http.request(method, url, headers=headers, **options)
        except httpx.HTTPError:
            return None


class SimulatedRun:
    """Reports for one export, attempt after attempt, until its row has ended."""

    def __init__(
        self,
        client: CallbackClient,
        database: DatabaseReader,
        job_id: str,
        master: bytes,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._database = database
        self._job_id = job_id
        self._master = master
        self._clock = clock

    async def run(self) -> None:
        """Post all reports; start again when the row has moved to another attempt."""
        while not (row := await self._fetch_row()).final:
            for step, (kind, report) in enumerate(REPORTS, 1):
                await asyncio.sleep(self._client.chance.random() * LONGEST_PAUSE_SECONDS)
                if not await self._post(row.attempt, step, kind, report):
                    break

    async def _post(self, attempt: int, step: int, kind: str, report: dict[str, Any]) -> bool:
        """Post a callback until it is answered; return whether it was accepted rather than refused with 410."""
        body = msgspec.json.encode(
            {
                "type": kind,
                "timestamp": datetime.now(UTC),
                "data": {
                    "job_id": self._job_id,
                    "attempt": attempt,
                    "step": step,
                    "call_id": f"fake-{self._job_id}-{attempt}",
                    "phase": "processing",
                    "progress": 60,
                    "message": "",
                    **report,
                },
            }
        )
        key = derive_attempt_key(self._master, self._job_id, attempt)

        def sign() -> dict[str, str]:
            headers = signature_headers(key, f"msg_{step}", int(self._clock()), body)
            return {**headers, "content-type": "application/json"}

        path = f"/api/callbacks/{self._job_id}"
        response = await self._client.request_until("POST", path, 200, 410, sign=sign, content=body)
        return response.status_code == 200

    async def _fetch_row(self) -> Row:
        row = await self._database.wait_for_row(self._job_id)
        assert row is not None
        return row
