"""Check at the proxy that the answer to a callback fits what is committed."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec

from tests.faults.checkers.budget_checker import BudgetChecker
from tests.faults.checkers.database_reader import FINAL, DatabaseReader, DatabaseUnavailable, Row
from tests.faults.checkers.violations import History
from tests.faults.cluster.proxy import Deliver

NOT_NOW = (502, 503)
REFUSED = 401
GONE = (404, 410)


class _Report(msgspec.Struct):
    job_id: str
    attempt: int
    run: str
    step: int


class _Callback(msgspec.Struct):
    type: str
    data: _Report


@dataclass(frozen=True)
class ReportedStep:
    """The attempt, run and step that a callback belongs to."""

    job_id: str
    attempt: int
    run: str
    step: int
    terminal: bool

    def is_newer_than(self, row: Row) -> bool:
        """Tell whether the row did not have this step yet."""
        return (self.attempt, self.run, self.step) > (row.attempt, row.run, row.step)

    def __str__(self) -> str:
        kind = "last step" if self.terminal else "step"
        return f"{kind} {self.step} of job {self.job_id[-6:]} attempt {self.attempt} run {self.run[-4:]}"


@dataclass(frozen=True)
class StateBefore:
    """What was committed before a callback was delivered; `row` is None if it could not be read."""

    row: Row | None = None
    is_erased: bool = False
    has_spent_day: bool = False


class CallbackChecker:
    """Delivers callbacks and compares each answer with the row before and after it."""

    def __init__(
        self, database: DatabaseReader, clock_was_just_set: Callable[[], bool], budgets: BudgetChecker
    ) -> None:
        self._database = database
        self._clock_was_just_set = clock_was_just_set
        self._budgets = budgets
        self._checks: set[asyncio.Task[None]] = set()
        self.histories: dict[str, History] = {}  # by job
        self.finished_schedules = History()  # for late callbacks of their jobs

    async def __call__(self, body: bytes, deliver: Deliver) -> bytes | None:
        report = parse_report(body)
        before = await self._read_before(report)
        answer = await deliver()
        status = parse_status(answer)
        if status == REFUSED and self._clock_was_just_set():  # it was signed before
            self._history_of(report).count("callback refused for its time")
        elif status is not None:
            check = asyncio.create_task(self._check(report, before, status))
            self._checks.add(check)
            check.add_done_callback(self._checks.discard)
        return answer

    async def wait_checked(self) -> None:
        """Wait until every check has been made."""
        while self._checks:
            await asyncio.gather(*self._checks)

    def _history_of(self, report: ReportedStep) -> History:
        return self.histories.get(report.job_id, self.finished_schedules)

    async def _read_before(self, report: ReportedStep) -> StateBefore:
        is_erased = self._history_of(report).is_erased(report.job_id)
        try:
            row = await self._database.fetch_row(report.job_id)
            has_spent_day = row is not None and await self._budgets.is_day_known_reached(row.user_id)
        except DatabaseUnavailable:
            return StateBefore(is_erased=is_erased)
        return StateBefore(row, is_erased, has_spent_day)

    async def _check(self, report: ReportedStep, before: StateBefore, status: int) -> None:
        history = self._history_of(report)
        history.count(f"callback {status}")
        if status in NOT_NOW:
            return
        after = await self._database.wait_for_row(report.job_id)
        if after is None:
            gone = report.job_id in history.removals or history is self.finished_schedules
            history.require(gone, f"{report}: there is no such row")
            history.require(
                status in GONE or not before.is_erased, f"{report} was answered {status} after an erasure"
            )
        elif status == 200:
            history.require(
                is_recorded(report, after), f"{report} was answered 200, and the row holds {after}"
            )
            for sentence in find_wrong_acceptance(report, before):
                history.add_violation(sentence)
        elif status == 410:
            history.require(
                is_superseded(report, after), f"{report} was answered 410, and the row still waits: {after}"
            )
        else:
            history.add_violation(f"{report} was answered {status}")


def find_wrong_acceptance(report: ReportedStep, before: StateBefore) -> Iterator[str]:
    """Yield why a callback should not have been answered 200, from what was committed before."""
    row = before.row
    if row is None:
        return
    if is_superseded(report, row):
        yield f"{report} was answered 200 after the row had moved on: {row}"
    if report.terminal or not report.is_newer_than(row):
        return
    if row.has_reached_limit:
        yield f"{report} was answered 200 after the export had reached its limit: {row}"
    if before.has_spent_day:
        yield f"{report} was answered 200 long after its user's budget was used up: {row}"


def is_recorded(report: ReportedStep, row: Row) -> bool:
    """Tell whether the row holds the reported step or a later one."""
    if report.terminal:
        return row.final or row.attempt > report.attempt
    return row.final or (row.attempt, row.run, row.step) >= (report.attempt, report.run, report.step)


def is_superseded(report: ReportedStep, row: Row) -> bool:
    """Tell whether the row has moved past the reported attempt or run; a last step may be repeated."""
    if (row.attempt, row.run) > (report.attempt, report.run):
        return True
    last_again = report.terminal and (row.attempt, row.run, row.step) == (
        report.attempt,
        report.run,
        report.step,
    )
    return row.status == "cancelled" or (row.status in FINAL and not last_again)


def parse_report(body: bytes) -> ReportedStep:
    callback = msgspec.json.decode(body, type=_Callback)
    data = callback.data
    terminal = callback.type in ("export.completed", "export.failed")
    return ReportedStep(data.job_id, data.attempt, data.run, data.step, terminal)


def parse_status(answer: bytes | None) -> int | None:
    """Return the status code of a raw HTTP response."""
    words = (answer or b"").split(b" ", 2)
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else None
