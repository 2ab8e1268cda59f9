"""Runs that nobody runs: what a function would post of an export, posted until it is committed."""

import asyncio
import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec

from callbacks.signing import derive_attempt_key, signature_headers
from tests.faults.checkers.database_reader import Ledger, Row

PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 0.3
STORY: Sequence[tuple[str, dict[str, Any]]] = (
    ("export.started", {"phase": "starting", "progress": 0}),
    ("export.progress", {"phase": "processing", "progress": 30}),
    ("export.progress", {"phase": "processing", "progress": 60}),
    ("export.failed", {"error": {"code": "no_video", "message": "The file holds no video."}}),
)
"""An export that fails, as it is told of."""


class Client:
    """Asks any of the replicas, as often as it takes."""

    def __init__(self, ports: Sequence[int], bearer: str, chance: random.Random) -> None:
        self.http = httpx.AsyncClient(
            trust_env=False, timeout=5, limits=httpx.Limits(max_keepalive_connections=0)
        )
        self.chance = chance
        self._ports = ports
        self._headers = {"Authorization": f"Bearer {bearer}"}

    async def insist(self, method: str, path: str, *wanted: int, **options: Any) -> httpx.Response:
        """The first answer with a status that is wanted."""
        while True:
            answer = await self.tried(method, path, **options)
            if answer is not None and answer.status_code in wanted:
                return answer
            assert answer is None or answer.status_code in (409, 502, 503), answer.text
            await asyncio.sleep(PAUSE_SECONDS)

    async def tried(self, method: str, path: str, **options: Any) -> httpx.Response | None:
        """One answer; None where the replica is gone."""
        url = f"http://127.0.0.1:{self.chance.choice(self._ports)}{path}"
        headers = self._headers | options.pop("headers", {})
        try:
            return await self.http.request(method, url, headers=headers, **options)
        except httpx.HTTPError:
            return None


class ToldRun:
    """The run of one export, attempt after attempt, until its row has ended."""

    def __init__(self, client: Client, ledger: Ledger, job_id: str, master: bytes) -> None:
        self._client = client
        self._ledger = ledger
        self._job_id = job_id
        self._master = master

    async def tell(self) -> None:
        """Tell the story; where the row has gone on to another attempt, from its beginning."""
        while not (row := await self._row()).final:
            for step, (kind, report) in enumerate(STORY, 1):
                await asyncio.sleep(self._client.chance.random() * LONGEST_PAUSE_SECONDS)
                if not await self._taken(row.attempt, step, kind, report):
                    break

    async def _taken(self, attempt: int, step: int, kind: str, report: dict[str, Any]) -> bool:
        """Whether the callback was taken in, however often it had to be sent; the alternative is 410."""
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
        signed = signature_headers(
            derive_attempt_key(self._master, self._job_id, attempt), f"msg_{step}", int(time.time()), body
        )
        headers = {**signed, "content-type": "application/json"}
        path = f"/api/callbacks/{self._job_id}"
        answer = await self._client.insist("POST", path, 200, 410, content=body, headers=headers)
        return answer.status_code == 200

    async def _row(self) -> Row:
        row = await self._ledger.surely(self._job_id)
        assert row is not None
        return row
