"""The part of a user that changes many exports at once: a batch, and all exports that a filter shows."""

import asyncio
import time

from tests.faults.checkers.batch_checks import find_wrong_batch
from tests.faults.checkers.violations import AcceptedBatch
from tests.faults.schedule import Step
from tests.faults.workload.user import GONE, NO_BUDGET, User, to_body

KEY = {"Idempotency-Key": "batch"}
EVERY_EXPORT = {"type": ["framing"]}


class BatchUser:
    """Submits one batch in a schedule, and changes it and all exports of the user."""

    def __init__(self, user: User) -> None:
        self._user = user
        self._history = user.history
        self._batch: asyncio.Future[AcceptedBatch | None] = asyncio.get_running_loop().create_future()

    async def submit(self, step: Step) -> tuple[str, ...]:
        """Submit a batch twice in parallel, as after a lost answer; return the ids of its exports."""
        clips = step.clip.split(",")
        body = {"exports": [to_body(step, clip) for clip in clips]}
        answers = await asyncio.gather(
            *(
                self._user.request_until("POST", "/api/batches", 202, NO_BUDGET, json=body, headers=KEY)
                for _ in range(2)
            )
        )
        accepted = {
            answer.json()["batch_id"]: tuple(export["job_id"] for export in answer.json()["exports"])
            for answer in answers
            if answer.status_code == 202
        }
        self._history.require(len(accepted) < 2, f"one key has the batches {sorted(accepted)}")
        batch = next((AcceptedBatch(*item) for item in accepted.items()), None)
        if batch is not None:
            self._history.batches[batch.batch_id] = batch
            self._history.require(len(batch.job_ids) == len(clips), f"{len(clips)} exports became {batch}")
        for number in range(len(clips)):
            self._user.note_submitted(step.index + number, None if batch is None else batch.job_ids[number])
        self._batch.set_result(batch)
        return () if batch is None else batch.job_ids

    async def cancel(self) -> None:
        """Cancel what is active of the batch."""
        batch = await self._batch
        if batch is None:
            return
        response = await self._user.request_until("DELETE", f"/api/batches/{batch.batch_id}", 202, GONE)
        if response.status_code == 202:
            await self._require_ended(list(batch.job_ids), "its batch was cancelled")

    async def purge(self) -> None:
        """Erase the batch with its exports, until that is answered."""
        batch = await self._batch
        if batch is None:
            return
        removals = [self._history.begin_removal(name) for name in (batch.batch_id, *batch.job_ids)]
        await self._user.request_until("DELETE", f"/api/batches/{batch.batch_id}?purge=true", 204)
        for removal in removals:
            removal.answered_at = time.monotonic()

    async def cancel_all(self) -> None:
        """Cancel all active exports by a filter."""
        job_ids = self._history.job_ids
        response = await self._user.request_until("POST", "/api/exports/cancel", 200, json=EVERY_EXPORT)
        self._history.require(response.json()["next_cursor"] is None, f"more is left: {response.text}")
        await self._require_ended(list(job_ids), "all were cancelled")

    async def retry_all(self) -> None:
        """Retry all exports that have failed or were cancelled, by a filter; a lost response may have been a yes."""
        for job_id in self._history.job_ids:
            self._history.retried[job_id] = self._history.retried.get(job_id, 0) + 1
        await self._user.try_request("POST", "/api/exports/retry", json=EVERY_EXPORT)

    async def check(self) -> None:
        """Compare the batch as it is shown with its exports."""
        for batch in self._history.batches.values():
            response = await self._user.request_until("GET", f"/api/batches/{batch.batch_id}", 200, GONE)
            if response.status_code == GONE:
                continue
            rows = [
                row
                for job_id in batch.job_ids
                if (row := await self._user.database.wait_for_row(job_id)) is not None
            ]
            for sentence in find_wrong_batch(batch, response.json(), rows, self._history):
                self._history.add_violation(f"batch {batch.batch_id[-6:]}: {sentence}")

    async def _require_ended(self, job_ids: list[str], reason: str) -> None:
        """Require that exports have ended, unless the user has asked for another attempt."""
        for job_id in job_ids:
            row = await self._user.database.wait_for_row(job_id)
            ended = row is None or row.final or self._history.retried.get(job_id)
            self._history.require(bool(ended), f"job {job_id[-6:]}: {reason}, and the row says {row}")
