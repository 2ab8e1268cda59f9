"""Stands at the proxy: what is answered to a callback must fit what is committed."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from tests.faults.checkers.database_reader import FINAL, Ledger, OutOfReach, Row
from tests.faults.checkers.violations import Record
from tests.faults.cluster.proxy import Deliver

NOT_NOW = (502, 503)
REFUSED = 401


class _Report(msgspec.Struct):
    job_id: str
    attempt: int
    run: str
    step: int


class _Callback(msgspec.Struct):
    type: str
    data: _Report


@dataclass(frozen=True)
class Told:
    """What a callback says of itself."""

    job_id: str
    attempt: int
    run: str
    step: int
    terminal: bool

    def __str__(self) -> str:
        kind = "last step" if self.terminal else "step"
        return f"{kind} {self.step} of job {self.job_id[-6:]} attempt {self.attempt} run {self.run[-4:]}"


class Judge:
    """Delivers a callback, and holds the answer against the row before and after."""

    def __init__(self, ledger: Ledger, clock_was_just_set: Callable[[], bool]) -> None:
        self._ledger = ledger
        self._clock_was_just_set = clock_was_just_set
        self._checks: set[asyncio.Task[None]] = set()
        self.records: dict[str, Record] = {}  # by job
        self.stray = Record()  # for jobs of schedules that are over

    async def __call__(self, body: bytes, deliver: Deliver) -> bytes | None:
        told = told_by(body)
        before = await self._now(told.job_id)
        answer = await deliver()
        status = status_of(answer)
        if status == REFUSED and self._clock_was_just_set():  # it was signed before
            self.records.get(told.job_id, self.stray).count("callback refused for its time")
        elif status is not None:
            check = asyncio.create_task(self._check(told, before, status))
            self._checks.add(check)
            check.add_done_callback(self._checks.discard)
        return answer

    async def settled(self) -> None:
        """Wait for every check."""
        while self._checks:
            await asyncio.gather(*self._checks)

    async def _now(self, job_id: str) -> Row | None:
        try:
            return await self._ledger.row(job_id)
        except OutOfReach:
            return None

    async def _check(self, told: Told, before: Row | None, status: int) -> None:
        record = self.records.get(told.job_id, self.stray)
        record.count(f"callback {status}")
        after = await self._ledger.surely(told.job_id)
        if after is None:
            record.broken(f"{told}: there is no such row")
        elif status == 200:
            record.require(kept(told, after), f"{told} was answered 200, and the row holds {after}")
            past = before is not None and over(told, before)
            record.require(not past, f"{told} was answered 200 after the row had gone on: {before}")
        elif status == 410:
            record.require(over(told, after), f"{told} was answered 410, and the row still waits: {after}")
        else:
            record.require(status in NOT_NOW, f"{told} was answered {status}")


def kept(told: Told, row: Row) -> bool:
    """Whether the row holds the callback, or something later."""
    if told.terminal:
        return row.final or row.attempt > told.attempt
    return row.final or (row.attempt, row.run, row.step) >= (told.attempt, told.run, told.step)


def over(told: Told, row: Row) -> bool:
    """Whether the row has left the callback's attempt or run behind; a last step may be told again."""
    if (row.attempt, row.run) > (told.attempt, told.run):
        return True
    last_again = told.terminal and (row.attempt, row.run, row.step) == (told.attempt, told.run, told.step)
    return row.status == "cancelled" or (row.status in FINAL and not last_again)


def told_by(body: bytes) -> Told:
    callback = msgspec.json.decode(body, type=_Callback)
    data = callback.data
    terminal = callback.type in ("export.completed", "export.failed")
    return Told(data.job_id, data.attempt, data.run, data.step, terminal)


def status_of(answer: bytes | None) -> int | None:
    """The status of an answer as it came over the wire."""
    words = (answer or b"").split(b" ", 2)
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else None
