"""Check what one reader of a stream is shown."""

import hashlib
import math
import time
from pathlib import Path
from typing import Any

from tests.faults.checkers.batch_checks import find_wrong_totals
from tests.faults.checkers.database_reader import FINAL, DatabaseReader, Row
from tests.faults.checkers.delivery_checks import ENDS, PROGRESS
from tests.faults.checkers.inbox_checker import BATCH_COMPLETED, ERASED
from tests.faults.checkers.violations import History

_STABLE = ("status", "phase", "progress", "attempt", "message", "error", "output")


class StreamChecker:
    """Checks the frames of one reader, connection by connection."""

    def __init__(
        self,
        name: str,
        history: History,
        database: DatabaseReader,
        objects: Path,
        *,
        replicas: int = 1,
    ) -> None:
        """Create the checker; of several `replicas` one may be behind for a moment when a connection begins."""
        self.name = name
        self.history = history
        self.latest: dict[str, dict[str, Any]] = {}
        self.erased: set[str] = set()
        self.completed_batches: set[str] = set()
        self.connected_at = math.inf
        self._database = database
        self._objects = objects
        self._may_begin_behind = replicas > 1
        self._seen_on_connection: set[str] = set()  # what this connection has shown already
        self._erased_on_connection: set[str] = set()

    def start_connection(self) -> None:
        """Note that a new connection begins."""
        self.connected_at = math.inf
        self.completed_batches.clear()
        self._seen_on_connection.clear()
        self._erased_on_connection.clear()

    def note_open(self) -> None:
        """Note that this connection shows all that follows."""
        self.connected_at = min(self.connected_at, time.monotonic())

    def check_status(self, status: int, job_id: str | None) -> None:
        """Check the status of a stream; 204 is only for readers that know the end, 410 for an erased export."""
        self.history.require(
            status not in (401, 403, 404, 422), f"{self.name}: the stream was answered {status}"
        )
        if status == 204:
            known = any(job["status"] in FINAL for job in self.latest.values())
            self.history.require(known, f"{self.name}: 204 to a reader that knows of no end")
        if status == 410:
            self.history.require(
                job_id in self.history.removals, f"{self.name}: 410, and the export was not erased"
            )
            self.erased.add(str(job_id))

    def check_id(self, event_id: str, job: dict[str, Any]) -> None:
        """Check the id of an event on the stream of one export, which is the sequence of its state."""
        self.history.require(
            event_id == str(job["sequence"]), f"{self.name}: id {event_id} of sequence {job['sequence']}"
        )

    async def check_frame(self, event: str | None, job: dict[str, Any]) -> None:
        """Check a frame against earlier ones and against what is committed."""
        if event == BATCH_COMPLETED:
            self._check_batch(job)
        elif event == ERASED:
            await self._check_erased(job)
        else:
            await self._check_state(event, job)

    def _check_batch(self, batch: dict[str, Any]) -> None:
        batch_id = batch["batch_id"]
        again = batch_id in self.completed_batches
        self.history.require(not again, f"{self.name}: {batch_id[-6:]} was completed twice on a connection")
        self.completed_batches.add(batch_id)
        if not self.history.retried:  # another replica shows the batch as it is when it learns of the end
            for sentence in find_wrong_totals(batch):
                self.history.add_violation(f"{self.name}: {sentence}")

    async def _check_erased(self, state: dict[str, Any]) -> None:
        job_id = state["job_id"]
        again = job_id in self._erased_on_connection
        self.history.require(not again, f"{self.name}: job {job_id[-6:]} was erased twice on a connection")
        self.erased.add(job_id)
        self._erased_on_connection.add(job_id)
        before = self.latest.pop(job_id, None)
        rising = before is None or state["sequence"] > before["sequence"]
        self.history.require(rising, f"{self.name}: {state} came after {before}")
        row = await self._database.wait_for_row(job_id)
        self.history.require(
            row is None, f"{self.name}: job {job_id[-6:]} was erased, and the row says {row}"
        )

    async def _check_state(self, event: str | None, job: dict[str, Any]) -> None:
        job_id = job["job_id"]
        self.history.require(
            job_id not in self._erased_on_connection,
            f"{self.name}: job {job_id[-6:]} was erased, and {event} {job['sequence']} came after that",
        )
        if self._is_behind(job):
            self.history.count("first state was behind")
            return
        self._check_order(job)
        is_known = event == PROGRESS and job["status"] == self.latest.get(job_id, job)["status"]  # an edit
        if event is not None and job["status"] in FINAL and not is_known:
            self.history.require(event == ENDS[job["status"]], f"{self.name}: {event} on {job['status']}")
        self.latest[job_id] = job
        self._seen_on_connection.add(job_id)
        await self.check_committed(job)

    def _is_behind(self, job: dict[str, Any]) -> bool:
        """Tell whether a connection begins with an older state: its replica does not know the newer one yet."""
        before = self.latest.get(job["job_id"])
        is_first = job["job_id"] not in self._seen_on_connection
        return (
            self._may_begin_behind
            and is_first
            and before is not None
            and job["sequence"] < before["sequence"]
        )

    def matches(self, row: Row) -> bool:
        """Tell whether this reader's latest state is the row's."""
        job = self.latest.get(row.job_id)
        return job is not None and (job["sequence"], job["status"]) == (row.sequence, row.status)

    def knows_end(self, row: Row) -> bool:
        """Tell whether this reader has a state of the row since it ended."""
        job = self.latest.get(row.job_id)
        return row.final and job is not None and job["sequence"] >= row.transition_sequence

    def _check_order(self, job: dict[str, Any]) -> None:
        before = self.latest.get(job["job_id"])
        if before is None:
            return
        subject = f"{self.name}: job {job['job_id'][-6:]}: sequence {before['sequence']} -> {job['sequence']}"
        fresh = job["job_id"] not in self._seen_on_connection
        rising = job["sequence"] > before["sequence"]
        again = job["sequence"] == before["sequence"] and (fresh or _is_refresh(before, job))
        self.history.require(rising or again, f"{subject}: not rising")
        if job["sequence"] == before["sequence"]:
            differing = [name for name in _STABLE if job[name] != before[name]]
            self.history.require(not differing, f"{subject}: {differing} differ")
        elif rising:
            self.history.require(
                job["attempt"] >= before["attempt"], f"{subject}: an earlier attempt came back"
            )
            less = job["gpu_seconds"] < before["gpu_seconds"]
            self.history.require(
                not less, f"{subject}: gpu_seconds fell {before['gpu_seconds']} -> {job['gpu_seconds']}"
            )
            same = job["attempt"] == before["attempt"]
            fell = same and job["progress"] < before["progress"]
            self.history.require(
                not fell, f"{subject}: progress fell {before['progress']} -> {job['progress']}"
            )
            revived = same and before["status"] in FINAL and job["status"] != before["status"]
            self.history.require(
                not revived, f"{subject}: {before['status']} was followed by {job['status']}"
            )

    async def check_committed(self, job: dict[str, Any]) -> None:
        """Check that the row holds this state or a later one."""
        row = await self._database.wait_for_row(job["job_id"])
        subject = f"{self.name}: job {job['job_id'][-6:]} sequence {job['sequence']} {job['status']}"
        if row is None:
            self.history.require(job["job_id"] in self.history.removals, f"{subject}: there is no such row")
            return
        self.history.require(row.sequence >= job["sequence"], f"{subject}: the row is at {row.sequence} only")
        if job["status"] in FINAL:
            is_edit = row.attempt == job["attempt"] and job["sequence"] > row.transition_sequence
            end = row.transition_sequence if is_edit else job["sequence"]
            self.history.endings.setdefault((row.job_id, job["attempt"]), set()).add(end)
        if job["status"] == "complete":
            self.history.require(row.status == "complete", f"{subject}: the row says {row.status}")
            holds = row.has_expired or object_matches(self._objects, row) or await self._is_gone(row.job_id)
            self.history.require(holds, f"{subject}: its object is missing or differs")

    async def _is_gone(self, job_id: str) -> bool:
        """Tell whether the file was deleted while it was looked for."""
        row = await self._database.wait_for_row(job_id)
        return job_id in self.history.removals if row is None else row.has_expired


def object_matches(objects: Path, row: Row) -> bool:
    """Tell whether the stored object has the row's size and checksum."""
    path = objects / row.user_id / row.output_key
    if not path.is_file() or path.stat().st_size != row.output_size:
        return False
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" == row.output_checksum


def _is_refresh(before: dict[str, Any], job: dict[str, Any]) -> bool:
    """Tell whether only the place in the queue of a waiting export has changed, which is no new state."""
    changed = {name for name in job if job[name] != before[name]}
    return job["status"] == "pending" and changed <= {"queue", "eta_seconds", "eta_high_seconds"}
