"""What one reader has seen of each export, and what it may rely on."""

import hashlib
from pathlib import Path
from typing import Any

from tests.faults.checkers.database_reader import FINAL, Ledger, Row
from tests.faults.checkers.delivery_checks import ENDS
from tests.faults.checkers.violations import Record

_STABLE = ("status", "phase", "progress", "attempt", "message", "error", "output")


class Witness:
    """Takes in the frames of one reader, connection by connection."""

    def __init__(self, name: str, record: Record, ledger: Ledger, objects: Path) -> None:
        self.name = name
        self.record = record
        self.held: dict[str, dict[str, Any]] = {}
        self._ledger = ledger
        self._objects = objects
        self._here: set[str] = set()  # what this connection has shown already

    def connected(self) -> None:
        """A new connection begins."""
        self._here.clear()

    def answered(self, status: int) -> None:
        """The status that a stream was answered with; 204 is for those who know the end."""
        self.record.require(
            status not in (401, 403, 404, 422), f"{self.name}: the stream was answered {status}"
        )
        if status == 204:
            known = any(job["status"] in FINAL for job in self.held.values())
            self.record.require(known, f"{self.name}: 204 to a reader that knows of no end")

    async def take(self, event: str | None, job: dict[str, Any]) -> None:
        """One frame, held against the ones before, and against what is committed."""
        self._in_order(job)
        if event is not None and job["status"] in FINAL:
            self.record.require(event == ENDS[job["status"]], f"{self.name}: {event} on {job['status']}")
        self.held[job["job_id"]] = job
        self._here.add(job["job_id"])
        await self.committed(job)

    def agrees(self, row: Row) -> bool:
        """Whether this reader holds what the row says."""
        job = self.held.get(row.job_id)
        return job is not None and (job["sequence"], job["status"]) == (row.sequence, row.status)

    def _in_order(self, job: dict[str, Any]) -> None:
        before = self.held.get(job["job_id"])
        if before is None:
            return
        told = f"{self.name}: job {job['job_id'][-6:]}: sequence {before['sequence']} -> {job['sequence']}"
        fresh = job["job_id"] not in self._here
        rising = job["sequence"] > before["sequence"]
        self.record.require(
            rising or (fresh and job["sequence"] == before["sequence"]), f"{told}: not rising"
        )
        if job["sequence"] == before["sequence"]:
            differing = [name for name in _STABLE if job[name] != before[name]]
            self.record.require(not differing, f"{told}: {differing} differ")
        elif rising:
            self.record.require(job["attempt"] >= before["attempt"], f"{told}: an earlier attempt came back")
            less = job["gpu_seconds"] < before["gpu_seconds"]
            self.record.require(
                not less, f"{told}: gpu_seconds fell {before['gpu_seconds']} -> {job['gpu_seconds']}"
            )
            same = job["attempt"] == before["attempt"]
            fell = same and job["progress"] < before["progress"]
            self.record.require(not fell, f"{told}: progress fell {before['progress']} -> {job['progress']}")
            revived = same and before["status"] in FINAL
            self.record.require(not revived, f"{told}: {before['status']} was followed by {job['status']}")

    async def committed(self, job: dict[str, Any]) -> None:
        """Hold one state against the row, whose state or a later one it must be."""
        row = await self._ledger.surely(job["job_id"])
        told = f"{self.name}: job {job['job_id'][-6:]} sequence {job['sequence']} {job['status']}"
        if row is None:
            self.record.broken(f"{told}: there is no such row")
            return
        self.record.require(row.sequence >= job["sequence"], f"{told}: the row is at {row.sequence} only")
        if job["status"] in FINAL:
            self.record.endings.setdefault((row.job_id, job["attempt"]), set()).add(job["sequence"])
        if job["status"] == "complete":
            self.record.require(row.status == "complete", f"{told}: the row says {row.status}")
            self.record.require(whole(self._objects, row), f"{told}: its object is missing or differs")


def whole(objects: Path, row: Row) -> bool:
    """Whether the object lies in its place as the row describes it."""
    path = objects / row.user_id / row.output_key
    if not path.is_file() or path.stat().st_size != row.output_size:
        return False
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" == row.output_checksum
