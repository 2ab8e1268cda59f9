"""Check what one reader of a stream is shown."""

import hashlib
from pathlib import Path
from typing import Any

from tests.faults.checkers.database_reader import FINAL, DatabaseReader, Row
from tests.faults.checkers.delivery_checks import ENDS
from tests.faults.checkers.violations import History

_STABLE = ("status", "phase", "progress", "attempt", "message", "error", "output")


class StreamChecker:
    """Checks the frames of one reader, connection by connection."""

    def __init__(self, name: str, history: History, database: DatabaseReader, objects: Path) -> None:
        self.name = name
        self.history = history
        self.latest: dict[str, dict[str, Any]] = {}
        self._database = database
        self._objects = objects
        self._seen_on_connection: set[str] = set()  # what this connection has shown already

    def start_connection(self) -> None:
        """Note that a new connection begins."""
        self._seen_on_connection.clear()

    def check_status(self, status: int) -> None:
        """Check the status of a stream; 204 is only for readers that know the end."""
        self.history.require(
            status not in (401, 403, 404, 422), f"{self.name}: the stream was answered {status}"
        )
        if status == 204:
            known = any(job["status"] in FINAL for job in self.latest.values())
            self.history.require(known, f"{self.name}: 204 to a reader that knows of no end")

    async def check_frame(self, event: str | None, job: dict[str, Any]) -> None:
        """Check a frame against earlier ones and against what is committed."""
        self._check_order(job)
        if event is not None and job["status"] in FINAL:
            self.history.require(event == ENDS[job["status"]], f"{self.name}: {event} on {job['status']}")
        self.latest[job["job_id"]] = job
        self._seen_on_connection.add(job["job_id"])
        await self.check_committed(job)

    def matches(self, row: Row) -> bool:
        """Tell whether this reader's latest state is the row's."""
        job = self.latest.get(row.job_id)
        return job is not None and (job["sequence"], job["status"]) == (row.sequence, row.status)

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
            revived = same and before["status"] in FINAL
            self.history.require(
                not revived, f"{subject}: {before['status']} was followed by {job['status']}"
            )

    async def check_committed(self, job: dict[str, Any]) -> None:
        """Check that the row holds this state or a later one."""
        row = await self._database.wait_for_row(job["job_id"])
        subject = f"{self.name}: job {job['job_id'][-6:]} sequence {job['sequence']} {job['status']}"
        if row is None:
            self.history.add_violation(f"{subject}: there is no such row")
            return
        self.history.require(row.sequence >= job["sequence"], f"{subject}: the row is at {row.sequence} only")
        if job["status"] in FINAL:
            self.history.endings.setdefault((row.job_id, job["attempt"]), set()).add(job["sequence"])
        if job["status"] == "complete":
            self.history.require(row.status == "complete", f"{subject}: the row says {row.status}")
            self.history.require(
                object_matches(self._objects, row), f"{subject}: its object is missing or differs"
            )


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
