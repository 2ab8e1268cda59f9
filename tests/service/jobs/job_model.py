"""A model of jobs in Python: what the database must contain after each event."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Coroutine
from typing import Any, ClassVar, TypeVar

import msgspec
from hypothesis.stateful import RuleBasedStateMachine, invariant

from callbacks.envelope import EventType, Phase
from service.ingest.batch_writer import BatchWriter
from service.ingest.changes import Applied, Change, Outcome, Refusal
from service.jobs import transitions
from service.jobs.models import Job
from tests.conftest import delete_all_rows, open_empty_database
from tests.support import job_factory
from tests.support.job_factory import Row

T = TypeVar("T")
ACTIVE = ("pending", "processing")
FINAL = ("complete", "error", "cancelled")
LEASE_SECONDS, SILENCE_SECONDS, LIMIT, PER_USER = 30.0, 60.0, 2, 2


class JobModel(RuleBasedStateMachine):
    """Jobs in a database, and the rows that they should have; a subclass adds the events."""

    url: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.database = self.run(open_empty_database(self.url))
        self.published: list[Job] = []
        self.writer = BatchWriter(self.database, job_factory.FakeChanges(self.published.append))
        self.now = 1_000_000.0
        self.rows: dict[str, Row] = {}
        self.claimed_attempts: dict[str, int] = {}  # the attempt that was last claimed
        self.other_call_id: str | None = None
        self.undone: set[str] = set()  # jobs whose reports were undone, so that their progress fell
        self.transition_sequences: dict[str, list[int]] = {}  # of each timeline

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run(work)

    def teardown(self) -> None:
        self.run(self.database.close())
        self.run(delete_all_rows(self.url))
        self.loop.close()

    @property
    def events(self) -> list[Row]:
        return self.run(job_factory.fetch_events(self.database))

    @invariant()
    def the_timeline_contains_the_transitions_and_nothing_else(self) -> None:
        for job_id, sequences in self.transition_sequences.items():
            assert [row["sequence"] for row in self.events if row["job_id"] == job_id] == sequences

    @invariant()
    def an_attempt_ends_once(self) -> None:
        for job_id in self.transition_sequences:
            events = [row for row in self.events if row["job_id"] == job_id]
            ends = Counter(row["attempt"] for row in events if row["status"] in FINAL)
            assert all(count == 1 for count in ends.values())

    @invariant()
    def what_was_published_is_newer_each_time(self) -> None:
        for job_id in self.transition_sequences:
            published = [job.sequence for job in self.published if job.job_id == job_id]
            assert published == sorted(set(published))

    def pick_job(self, pick: int, ahead: int = 0, run: str = "same") -> Job:
        """Return a job as a run or replica may see it: behind or ahead by attempts, or of another run."""
        row = list(self.rows.values())[pick % len(self.rows)]
        held_row = row | {"attempt": max(1, int(str(row["attempt"])) + ahead)}
        return transitions.to_job(held_row | ({} if run == "same" else {"run": run, "step": 0}))

    def is_active(self, job: Job) -> bool:
        row = self.rows[job.job_id]
        return row["status"] in ACTIVE and row["attempt"] == job.attempt

    def is_newer(self, job: Job, step: int) -> bool:
        row = self.rows[job.job_id]
        return (job.run, step) > (str(row["run"]), int(str(row["step"])))

    def count_running(self) -> Counter[str]:
        """Count the exports of each user whose attempt was claimed and has not ended."""
        return Counter(
            str(row["user_id"])
            for job_id, row in self.rows.items()
            if row["status"] in ACTIVE and self.claimed_attempts.get(job_id) == row["attempt"]
        )

    def list_claimable(self) -> dict[str, list[str]]:
        """Return the waiting jobs of each user, in the order of their submission."""
        lines: dict[str, list[str]] = defaultdict(list)
        for job_id, row in sorted(self.rows.items()):
            ready = row["status"] == "pending" and row["call_id"] is None and row["lease_until"] is None
            if ready and to_seconds(row["not_before"]) <= self.now:
                lines[str(row["user_id"])].append(job_id)
        return lines

    def change(self, kind: EventType, job: Job, step: int, **of_report: Any) -> Change:
        """Build a callback of the job's run, from the call that reports now."""
        return job_factory.build_change(
            kind,
            job.job_id,
            job.attempt,
            step,
            run=job.run,
            call_id=self.other_call_id,
            now=self.now,
            **of_report,
        )

    def advance(self, kind: EventType, job: Job, steps_ahead: int, phase: Phase, progress: float) -> None:
        row = self.rows[job.job_id]
        highest = max(to_seconds(row["progress"]), min(progress, 99.9))
        is_transition = row["status"] == "pending" or row["phase"] != phase
        self.report(
            kind,
            job,
            steps_ahead,
            {"status": "processing", "phase": phase, "progress": highest},
            is_transition=is_transition,
            phase=phase,
            progress=progress,
        )

    def report(
        self,
        kind: EventType,
        job: Job,
        steps_ahead: int,
        expected: Row,
        *,
        is_transition: bool,
        finalizer: str | None = None,
        **of_report: Any,
    ) -> None:
        """Report; check that the row is as `expected`, or the refusal is the one of the contract."""
        row = self.rows[job.job_id]
        step = max(1, job.step + steps_ahead)
        change = msgspec.structs.replace(self.change(kind, job, step, **of_report), finalizer=finalizer)
        (outcome,) = self.run(job_factory.write_changes(self.writer, change))
        is_known_call = row["call_id"] in (None, change.report.call_id)
        if not (self.is_active(job) and self.is_newer(job, step) and is_known_call):
            self.check_refused(outcome, change)
        elif finalizer not in (None, row["finalizer"]):
            assert outcome is Refusal.HELD
            self.check({})
        else:
            self.check_applied(outcome, change, expected, is_transition=is_transition)

    def check_applied(self, outcome: Outcome, change: Change, expected: Row, *, is_transition: bool) -> None:
        """Check the row after a callback that was applied."""
        report = change.report
        row = self.rows[report.job_id]
        sequence = int(str(row["sequence"])) + 1
        assert isinstance(outcome, Applied)
        assert outcome.sequence == sequence
        if expected["status"] != "pending":
            expected |= {"step": report.step, "run": report.run, "call_id": row["call_id"]}
            expected |= {"reported_call_id": report.call_id, "heartbeat_at": self.now}
        free = {"lease_until": None, "finalizer": None}
        self.check({report.job_id: {**expected, **free, "sequence": sequence}})
        self.transition_sequences[report.job_id] += [sequence] if is_transition else []

    def check_refused(self, outcome: Outcome, change: Change) -> None:
        """Check the outcome of a callback that is not newer than the row."""
        report = change.report
        row = self.rows[report.job_id]
        is_current_run = (row["attempt"], row["run"]) == (report.attempt, report.run)
        is_current_run &= row["call_id"] in (None, report.call_id)
        is_end = row["status"] in ("complete", "error") and change.type.is_terminal
        is_repeated_end = is_end and row["step"] == report.step
        is_known = is_current_run and (row["status"] in ACTIVE or is_repeated_end)
        assert outcome == (Applied(int(str(row["sequence"]))) if is_known else Refusal.OVER)
        self.check({})

    def check_transition(
        self, work: Coroutine[Any, Any, Job | None], job: Job, accepted: bool, expected: Row
    ) -> None:
        """Run a change of the service; check that it is a transition, or no change if not accepted."""
        sequence = int(str(self.rows[job.job_id]["sequence"])) + 1
        changed = self.run(work)
        assert (changed is not None) is accepted
        self.check({job.job_id: {**expected, "sequence": sequence}} if accepted else {})
        if changed is not None:
            assert changed == transitions.to_job(self.rows[job.job_id])
            self.transition_sequences[job.job_id].append(sequence)

    def check(self, expected: dict[str, Row]) -> None:
        """Check that only the expected rows have changed, and as expected."""
        before, self.rows = self.rows, self.run(job_factory.fetch_jobs(self.database))
        for job_id, row in self.rows.items():
            if job_id not in expected:
                assert row == before[job_id]
                continue
            assert {name: row[name] for name in expected[job_id]} == expected[job_id]
            if row["attempt"] == before[job_id]["attempt"] and job_id not in self.undone:
                assert to_seconds(row["progress"]) >= to_seconds(before[job_id]["progress"])


def first_columns(job: Job) -> Row:
    """Return the columns with which a new attempt begins."""
    begin = {
        "status": "pending",
        "phase": "queued",
        "progress": 0.0,
        "attempt": job.attempt + 1,
        "step": 0,
        "run": "",
    }
    nothing = ("call_id", "lease_until", "finalizer", "heartbeat_at", "completed_at", "started_at")
    return begin | dict.fromkeys(nothing)


def to_seconds(value: object) -> float:
    assert isinstance(value, float | int)
    return float(value)
