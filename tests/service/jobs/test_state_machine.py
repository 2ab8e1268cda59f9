"""Any order of events, held against a model: what each may change is said here a second time, in Python."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Coroutine
from typing import Any, ClassVar, TypeVar

import hypothesis
import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from callbacks.envelope import EventType, Phase
from infra.database.sqlite import SqliteDatabase
from service.ingest.batch_writer import BatchWriter
from service.ingest.changes import Applied, Change, Refusal
from service.jobs import finalize_leases, leases, transitions
from service.jobs.models import Job
from service.jobs.retry_rule import Charge
from tests.conftest import delete_all_rows, open_empty_database
from tests.support import job_factory as changes
from tests.support.job_factory import Row

T = TypeVar("T")
ACTIVE = ("pending", "processing")
FINAL = ("complete", "error", "cancelled")
LEASE, SILENCE, LIMIT, PER_USER = 30.0, 60.0, 2, 2

attempts = st.sampled_from([0, 0, 0, 0, -1, 1])
steps = st.sampled_from([1, 1, 1, 1, 0, -1, 3])
phases = st.sampled_from([Phase.STARTING, Phase.DOWNLOADING, Phase.PROCESSING, Phase.UPLOADING])
reached = st.tuples(phases, st.floats(0, 100))
runs = st.sampled_from(["same", "same", "same", "same", "", "0a", "0b"])
picks = st.integers(0, 9)
finalizers = st.sampled_from(["first", "second"])
if_finalizer = st.sampled_from([None, None, "first", "second"])


class ExportLife(RuleBasedStateMachine):
    """Up to three exports of two users, in one database."""

    url: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.database = self.run(open_empty_database(self.url))
        self.published: list[Job] = []
        self.writer = BatchWriter(self.database, changes.FakeChanges(self.published.append))
        self.now = 1_000_000.0
        self.rows: dict[str, Row] = {}
        self.claimed: dict[str, int] = {}  # the attempt that was claimed last
        self.another_call: str | None = None
        self.taken_back: set[str] = set()  # whose progress was another call's, and has fallen
        self.moved: dict[str, list[int]] = {}  # the sequences that belong into each timeline

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run(work)

    def teardown(self) -> None:
        self.run(self.database.close())
        self.run(delete_all_rows(self.url))
        self.loop.close()

    # What the events do

    @initialize()
    def first(self) -> None:
        self.submit("ada")

    @precondition(lambda self: len(self.rows) < 3)
    @rule(user=st.sampled_from(["ada", "ada", "bob"]))
    def submit(self, user: str) -> None:
        asked = changes.submission_for(f"job-{len(self.rows)}", user)

        async def submit() -> Job:
            async with self.database.transaction() as session:
                return await transitions.submit(
                    session, asked, runner="local", attempt_limit=LIMIT, now=self.now
                )

        job = self.run(submit())
        self.moved[job.job_id] = [1]
        self.rows = self.run(changes.fetch_jobs(self.database))
        row = self.rows[job.job_id]
        assert (row["status"], row["phase"], row["sequence"], row["attempt"]) == ("pending", "queued", 1, 1)

    @rule(seconds=st.sampled_from([1.0, 10.0, 40.0, 100.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(places=st.integers(1, 3))
    def claim(self, places: int) -> None:
        async def claim() -> list[Job]:
            async with self.database.transaction() as session:
                return await leases.claim(
                    session, slots=places, per_user=PER_USER, lease_seconds=LEASE, now=self.now
                )

        claimable = self.claimable()
        claimed = [job.job_id for job in self.run(claim())]
        held = self.held()
        for job_id in claimed:
            user = str(self.rows[job_id]["user_id"])
            assert job_id == claimable[user].pop(0), "first come, first served within a user"
            held[user] += 1
        assert all(count <= PER_USER for user, count in held.items() if user in claimable)
        left = [user for user, line in claimable.items() if line and held[user] < PER_USER]
        assert len(claimed) == places or not left
        self.check({job_id: {"lease_until": self.now + LEASE} for job_id in claimed})
        self.claimed |= {job_id: int(str(self.rows[job_id]["attempt"])) for job_id in claimed}

    @rule(pick=picks, ahead=attempts)
    def spawned(self, pick: int, ahead: int) -> None:
        job = self.picked(pick, ahead)

        async def spawned() -> Job | None:
            async with self.database.transaction() as session:
                return await leases.record_spawn(session, job, f"call-{job.attempt}", now=self.now)

        row = self.rows[job.job_id]
        may = self.active(job) and row["call_id"] is None
        expected: Row = {"call_id": f"call-{job.attempt}", "spawned_at": self.now}
        if may and row["reported_call_id"] == expected["call_id"]:  # it goes on where it is
            sequence = int(str(row["sequence"])) + 1
            assert self.run(spawned()) is not None
            self.check({job.job_id: {**expected, "sequence": sequence, "step": row["step"]}})
            return
        nothing_yet = {"status": "pending", "phase": "starting", "progress": 0, "run": "", "step": 0}
        expected |= nothing_yet | {"heartbeat_at": self.now, "lease_until": None}
        self.taken_back |= {job.job_id} if may and row["reported_call_id"] else set()
        self.changes(spawned(), job, may, expected)

    @rule(another=st.sampled_from([False, False, True]))
    def report_as(self, another: bool) -> None:
        """From here on reports name the call that the runner started, or another one."""
        self.another_call = "call-of-another" if another else None

    @rule(pick=picks, ahead=attempts, run=runs, further=steps, reached=reached)
    def tick(self, pick: int, ahead: int, run: str, further: int, reached: tuple[Phase, float]) -> None:
        self.advance(EventType.PROGRESS, self.picked(pick, ahead, run), further, *reached)

    @rule(pick=picks, ahead=attempts, run=runs, further=steps)
    def started(self, pick: int, ahead: int, run: str, further: int) -> None:
        self.advance(EventType.STARTED, self.picked(pick, ahead, run), further, Phase.STARTING, 0)

    @rule(pick=picks, ahead=attempts, run=runs, further=steps, finalizer=if_finalizer)
    def completed(self, pick: int, ahead: int, run: str, further: int, finalizer: str | None) -> None:
        job = self.picked(pick, ahead, run)
        end = {"status": "complete", "phase": "done", "progress": 100, "completed_at": self.now}
        self.report(EventType.COMPLETED, job, further, end, moves=True, finalizer=finalizer)

    @rule(
        pick=picks, ahead=attempts, run=runs, further=steps, transient=st.booleans(), finalizer=if_finalizer
    )
    def failed(
        self, pick: int, ahead: int, run: str, further: int, transient: bool, finalizer: str | None
    ) -> None:
        job = self.picked(pick, ahead, run)
        end: Row = {"status": "error", "phase": "done", "error_code": "broken", "completed_at": self.now}
        if transient and job.attempt < job.attempt_limit:
            end = fresh(job)
        self.report(EventType.FAILED, job, further, end, moves=True, transient=transient, finalizer=finalizer)

    @rule(pick=picks, ahead=attempts, run=runs, further=steps, finalizer=finalizers)
    def finalize(self, pick: int, ahead: int, run: str, further: int, finalizer: str) -> None:
        job = self.picked(pick, ahead, run)
        step = max(1, job.step + further)
        claim = self.change(EventType.COMPLETED, job, step)

        async def finalize() -> Job | None:
            async with self.database.transaction() as session:
                return await finalize_leases.acquire(
                    session, claim.report, finalizer, lease_seconds=LEASE, now=self.now
                )

        row = self.rows[job.job_id]
        ours = row["call_id"] in (None, claim.report.call_id) and row["finalizer"] is None
        expected = {"status": "processing", "phase": "finalizing", "lease_until": self.now + LEASE}
        expected |= {
            "finalizer": finalizer,
            "run": job.run,
            "step": step - 1,
        }  # what comes late does not undo it
        self.changes(finalize(), job, self.active(job) and self.newer(job, step) and ours, expected)

    @rule(pick=picks, ahead=attempts, charge=st.sampled_from(Charge))
    def give_back(self, pick: int, ahead: int, charge: Charge) -> None:
        job = self.picked(pick, ahead)

        async def give_back() -> Job | None:
            async with self.database.transaction() as session:
                return await transitions.requeue(
                    session, job, "Lost.", charge=charge, not_before=self.now + 5, now=self.now
                )

        may = self.active(job) and (job.attempt < job.attempt_limit or charge is not Charge.FAILURE)
        expected = fresh(job) | {"not_before": self.now + 5}
        if charge is not Charge.FAILURE:
            expected["attempt_limit"] = job.attempt_limit + 1
        expected["interruptions"] = job.interruptions + (charge is Charge.INTERRUPTION)
        self.changes(give_back(), job, may, expected)

    @rule(pick=picks, ahead=attempts)
    def fail(self, pick: int, ahead: int) -> None:
        job = self.picked(pick, ahead)

        async def fail() -> Job | None:
            async with self.database.transaction() as session:
                return await transitions.fail(session, job, "deadline_exceeded", "Too long.", now=self.now)

        end: Row = {"status": "error", "phase": "done", "error_code": "deadline_exceeded"}
        self.changes(fail(), job, self.active(job), end)

    @rule(pick=picks, stranger=st.sampled_from([False, False, False, True]))
    def cancel(self, pick: int, stranger: bool) -> None:
        job = self.picked(pick)
        user = "eve" if stranger else job.user_id

        async def cancel() -> Job | None:
            async with self.database.transaction() as session:
                return await transitions.cancel(session, user, job.job_id, now=self.now)

        held = job.lease_until if job.phase is Phase.FINALIZING else None  # until its output has come to rest
        end = {"status": "cancelled", "phase": "done", "completed_at": self.now, "lease_until": held}
        self.changes(cancel(), job, self.active(job) and not stranger, end)

    @rule(pick=picks, stranger=st.sampled_from([False, False, False, True]))
    def retry(self, pick: int, stranger: bool) -> None:
        job = self.picked(pick)
        user = "eve" if stranger else job.user_id

        async def retry() -> Job | None:
            async with self.database.transaction() as session:
                return await transitions.retry(session, user, job.job_id, attempts=LIMIT, now=self.now)

        expected = fresh(job) | {"attempt_limit": job.attempt + LIMIT, "not_before": 0.0, "error_code": None}
        free = job.lease_until is None or job.lease_until <= self.now
        self.changes(retry(), job, job.status in ("error", "cancelled") and free and not stranger, expected)

    @rule(pick=picks, finalizer=finalizers)
    def release(self, pick: int, finalizer: str) -> None:
        job = self.picked(pick)

        async def release() -> None:
            async with self.database.transaction() as session:
                await finalize_leases.release(session, job.job_id, finalizer)

        self.run(release())
        free: Row = {"lease_until": None, "finalizer": None}
        self.check({job.job_id: free} if job.finalizer == finalizer else {})

    @rule(finalizer=finalizers)
    def renew(self, finalizer: str) -> None:
        async def renew() -> set[str]:
            async with self.database.transaction() as session:
                held = {finalizer: theirs[-1] if theirs else "job-0"}
                return await finalize_leases.renew(session, held, lease_seconds=LEASE, now=self.now)

        theirs = [job_id for job_id, row in self.rows.items() if row["finalizer"] == finalizer]
        assert self.run(renew()) == ({finalizer} if theirs else set())
        self.check({job_id: {"lease_until": self.now + LEASE} for job_id in theirs[-1:]})

    @rule(pick=picks)
    def acknowledge(self, pick: int) -> None:
        job = self.picked(pick)

        async def acknowledge() -> list[Job]:
            async with self.database.transaction() as session:
                return await transitions.acknowledge(
                    session, job.user_id, [job.job_id, "other"], now=self.now
                )

        new = job.status in FINAL and job.acknowledged_at is None
        assert bool(self.run(acknowledge())) is new
        self.check({job.job_id: {"acknowledged_at": self.now}} if new else {})

    @rule()
    def look_for_the_silent(self) -> None:
        async def silent() -> list[Job]:
            async with self.database.transaction() as session:
                seen = [job for job in await leases.list_watched(session) if job.job_id in quiet]
                return await leases.lease_silent(session, seen, lease_seconds=SILENCE / 2, now=self.now)

        quiet = {
            str(row["job_id"])
            for row in self.rows.values()
            if row["status"] in ACTIVE
            and (row["call_id"] is not None or row["status"] == "processing")
            and seconds(row["heartbeat_at"]) < self.now - SILENCE
            and (row["lease_until"] is None or seconds(row["lease_until"]) < self.now)
        }
        assert {job.job_id for job in self.run(silent())} == quiet
        self.check({job_id: {"lease_until": self.now + SILENCE / 2, "finalizer": None} for job_id in quiet})

    @rule()
    def look_for_lapsed_leases(self) -> None:
        async def lapsed() -> list[Job]:
            async with self.database.transaction() as session:
                seen = [job for job in await leases.list_watched(session) if job.job_id in lost]
                assert all(job.is_unstarted for job in seen)
                return await leases.list_unchanged(session, seen)

        lost = {
            str(row["job_id"])
            for row in self.rows.values()
            if row["status"] == "pending"
            and row["call_id"] is None
            and row["lease_until"] is not None
            and seconds(row["lease_until"]) < self.now
        }
        assert {job.job_id for job in self.run(lapsed())} == lost
        self.check({})

    # What holds whatever happened

    @property
    def events(self) -> list[Row]:
        return self.run(changes.fetch_events(self.database))

    @invariant()
    def the_timeline_tells_of_transitions_and_of_nothing_else(self) -> None:
        for job_id, moved in self.moved.items():
            assert [row["sequence"] for row in self.events if row["job_id"] == job_id] == moved

    @invariant()
    def an_attempt_ends_once(self) -> None:
        for job_id in self.moved:
            told = [row for row in self.events if row["job_id"] == job_id]
            ends = Counter(row["attempt"] for row in told if row["status"] in FINAL)
            assert all(count == 1 for count in ends.values())

    @invariant()
    def what_was_published_is_newer_each_time(self) -> None:
        for job_id in self.moved:
            published = [job.sequence for job in self.published if job.job_id == job_id]
            assert published == sorted(set(published))

    # How they are told

    def picked(self, pick: int, ahead: int = 0, run: str = "same") -> Job:
        """One of the jobs, as somebody holds it who may be behind or ahead by an attempt, or of another run."""
        row = list(self.rows.values())[pick % len(self.rows)]
        held = row | {"attempt": max(1, int(str(row["attempt"])) + ahead)}
        return transitions.to_job(held | ({} if run == "same" else {"run": run, "step": 0}))

    def active(self, job: Job) -> bool:
        row = self.rows[job.job_id]
        return row["status"] in ACTIVE and row["attempt"] == job.attempt

    def newer(self, job: Job, step: int) -> bool:
        row = self.rows[job.job_id]
        return (job.run, step) > (str(row["run"]), int(str(row["step"])))

    def held(self) -> Counter[str]:
        """How many places each user's exports hold: whose attempt was claimed, and is not over."""
        return Counter(
            str(row["user_id"])
            for job_id, row in self.rows.items()
            if row["status"] in ACTIVE and self.claimed.get(job_id) == row["attempt"]
        )

    def claimable(self) -> dict[str, list[str]]:
        """What waits, user by user, in the order in which it came."""
        lines: dict[str, list[str]] = defaultdict(list)
        for job_id, row in sorted(self.rows.items()):
            ready = row["status"] == "pending" and row["call_id"] is None and row["lease_until"] is None
            if ready and seconds(row["not_before"]) <= self.now:
                lines[str(row["user_id"])].append(job_id)
        return lines

    def change(self, kind: EventType, job: Job, step: int, **of_report: Any) -> Change:
        """A callback of the job's run, by the call that reports now."""
        return changes.build_change(
            kind,
            job.job_id,
            job.attempt,
            step,
            run=job.run,
            call_id=self.another_call,
            now=self.now,
            **of_report,
        )

    def advance(self, kind: EventType, job: Job, further: int, phase: Phase, progress: float) -> None:
        row = self.rows[job.job_id]
        highest = max(seconds(row["progress"]), min(progress, 99.9))
        moves = row["status"] == "pending" or row["phase"] != phase
        self.report(
            kind,
            job,
            further,
            {"status": "processing", "phase": phase, "progress": highest},
            moves=moves,
            phase=phase,
            progress=progress,
        )

    def report(
        self,
        kind: EventType,
        job: Job,
        further: int,
        expected: Row,
        *,
        moves: bool,
        finalizer: str | None = None,
        **of_report: Any,
    ) -> None:
        """A callback: accepted and in the row as `expected`, or refused for the reason the contract names."""
        row = self.rows[job.job_id]
        step = max(1, job.step + further)
        told = msgspec.structs.replace(self.change(kind, job, step, **of_report), finalizer=finalizer)
        call_id = told.report.call_id
        (outcome,) = self.run(changes.write_changes(self.writer, told))
        current = self.active(job) and self.newer(job, step) and row["call_id"] in (None, call_id)
        if current and finalizer not in (None, row["finalizer"]):
            assert outcome is Refusal.HELD
            self.check({})
            return
        if current:
            sequence = int(str(row["sequence"])) + 1
            assert isinstance(outcome, Applied)
            assert outcome.sequence == sequence
            if expected["status"] != "pending":
                expected |= {
                    "step": step,
                    "run": job.run,
                    "call_id": row["call_id"],
                    "reported_call_id": call_id,
                    "heartbeat_at": self.now,
                }
            free = {"lease_until": None, "finalizer": None}
            self.check({job.job_id: {**expected, **free, "sequence": sequence}})
            self.moved[job.job_id] += [sequence] if moves else []
            return
        of_this_run = (row["attempt"], row["run"]) == (job.attempt, job.run)
        of_this_run &= row["call_id"] in (None, call_id)
        the_end_again = row["status"] in ("complete", "error") and kind.is_terminal and row["step"] == step
        known = of_this_run and (row["status"] in ACTIVE or the_end_again)
        assert outcome == (Applied(int(str(row["sequence"]))) if known else Refusal.OVER)
        self.check({})

    def changes(self, work: Coroutine[Any, Any, Job | None], job: Job, accepted: bool, expected: Row) -> None:
        """A change by the service itself: a transition, or nothing at all."""
        sequence = int(str(self.rows[job.job_id]["sequence"])) + 1
        changed = self.run(work)
        assert (changed is not None) is accepted
        self.check({job.job_id: {**expected, "sequence": sequence}} if accepted else {})
        if changed is not None:
            assert changed == transitions.to_job(self.rows[job.job_id])
            self.moved[job.job_id].append(sequence)

    def check(self, expected: dict[str, Row]) -> None:
        """The rows are as before, but for those expected to change, which did so as expected."""
        before, self.rows = self.rows, self.run(changes.fetch_jobs(self.database))
        for job_id, row in self.rows.items():
            if job_id not in expected:
                assert row == before[job_id]
                continue
            assert {name: row[name] for name in expected[job_id]} == expected[job_id]
            if row["attempt"] == before[job_id]["attempt"] and job_id not in self.taken_back:
                assert seconds(row["progress"]) >= seconds(before[job_id]["progress"])


def fresh(job: Job) -> Row:
    """What a new attempt begins with."""
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


def seconds(value: object) -> float:
    assert isinstance(value, float | int)
    return float(value)


@pytest.mark.parametrize(
    ("kind", "examples"),
    [pytest.param("sqlite", 20, id="sqlite"), pytest.param("postgresql", 12, id="postgresql")],
)
def test_any_order_of_events_leaves_a_job_that_the_model_knows(
    kind: str, examples: int, request: pytest.FixtureRequest
) -> None:
    class Life(ExportLife):
        url = request.getfixturevalue(f"{kind}_url")

    settings = hypothesis.settings(
        max_examples=examples,
        stateful_step_count=40,
        suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.filter_too_much],
    )
    hypothesis.stateful.run_state_machine_as_test(Life, settings=settings)


@pytest.mark.parametrize("kind", [EventType.STARTED, EventType.PROGRESS, EventType.FAILED])
async def test_a_callback_for_an_unknown_job_is_unknown(database: SqliteDatabase, kind: EventType) -> None:
    writer = BatchWriter(database, changes.FakeChanges())
    told = changes.build_change(kind, "nobody", 1, 1, now=1.0)
    assert await changes.write_changes(writer, told) == [Refusal.UNKNOWN]
