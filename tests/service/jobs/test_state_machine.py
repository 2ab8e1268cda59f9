"""Any order of events, compared with a model: what each event may change is stated a second time, in Python."""

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from callbacks.envelope import EventType, Phase
from infra.database.sqlite import SqliteDatabase
from service.ingest.batch_writer import BatchWriter
from service.ingest.changes import Refusal
from service.jobs import acknowledgements, finalize_leases, leases, transitions
from service.jobs.models import Job
from service.jobs.retry_rule import Charge
from tests.service.jobs.job_model import (
    ACTIVE,
    FINAL,
    LEASE_SECONDS,
    LIMIT,
    PER_USER,
    SILENCE_SECONDS,
    JobModel,
    first_columns,
    to_seconds,
)
from tests.support import job_factory
from tests.support.job_factory import Row

attempts = st.sampled_from([0, 0, 0, 0, -1, 1])
steps = st.sampled_from([1, 1, 1, 1, 0, -1, 3])
phases = st.sampled_from([Phase.STARTING, Phase.DOWNLOADING, Phase.PROCESSING, Phase.UPLOADING])
reached = st.tuples(phases, st.floats(0, 100))
runs = st.sampled_from(["same", "same", "same", "same", "", "0a", "0b"])
picks = st.integers(0, 9)
finalizers = st.sampled_from(["first", "second"])
if_finalizer = st.sampled_from([None, None, "first", "second"])


class JobEvents(JobModel):
    """Events on up to three exports of two users."""

    @initialize()
    def submit_first(self) -> None:
        self.submit("ada")

    @precondition(lambda self: len(self.rows) < 3)
    @rule(user=st.sampled_from(["ada", "ada", "bob"]))
    def submit(self, user: str) -> None:
        submission = job_factory.submission_for(f"job-{len(self.rows)}", user)

        async def submit() -> Job:
            async with self.database.transaction() as session:
                return await transitions.submit(
                    session, submission, runner="local", attempt_limit=LIMIT, now=self.now
                )

        job = self.run(submit())
        self.transition_sequences[job.job_id] = [1]
        self.rows = self.run(job_factory.fetch_jobs(self.database))
        row = self.rows[job.job_id]
        assert (row["status"], row["phase"], row["sequence"], row["attempt"]) == ("pending", "queued", 1, 1)

    @rule(seconds=st.sampled_from([1.0, 10.0, 40.0, 100.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(slots=st.integers(1, 3))
    def claim(self, slots: int) -> None:
        async def claim() -> list[Job]:
            async with self.database.transaction() as session:
                return await leases.claim(
                    session, slots=slots, per_user=PER_USER, lease_seconds=LEASE_SECONDS, now=self.now
                )

        claimable = self.list_claimable()
        claimed_ids = [job.job_id for job in self.run(claim())]
        running = self.count_running()
        for job_id in claimed_ids:
            user = str(self.rows[job_id]["user_id"])
            assert job_id == claimable[user].pop(0), "first come, first served within a user"
            running[user] += 1
        assert all(count <= PER_USER for user, count in running.items() if user in claimable)
        eligible = [user for user, line in claimable.items() if line and running[user] < PER_USER]
        assert len(claimed_ids) == slots or not eligible
        self.check({job_id: {"lease_until": self.now + LEASE_SECONDS} for job_id in claimed_ids})
        self.claimed_attempts |= {job_id: int(str(self.rows[job_id]["attempt"])) for job_id in claimed_ids}

    @rule(pick=picks, ahead=attempts)
    def record_spawn(self, pick: int, ahead: int) -> None:
        job = self.pick_job(pick, ahead)

        async def spawn() -> Job | None:
            async with self.database.transaction() as session:
                return await leases.record_spawn(session, job, f"call-{job.attempt}", now=self.now)

        row = self.rows[job.job_id]
        is_allowed = self.is_active(job) and row["call_id"] is None
        expected: Row = {"call_id": f"call-{job.attempt}", "spawned_at": self.now}
        if is_allowed and row["reported_call_id"] == expected["call_id"]:  # the job stays as it is
            sequence = int(str(row["sequence"])) + 1
            assert self.run(spawn()) is not None
            self.check({job.job_id: {**expected, "sequence": sequence, "step": row["step"]}})
            return
        initial = {"status": "pending", "phase": "starting", "progress": 0, "run": "", "step": 0}
        expected |= initial | {"heartbeat_at": self.now, "lease_until": None}
        self.undone |= {job.job_id} if is_allowed and row["reported_call_id"] else set()
        self.check_transition(spawn(), job, is_allowed, expected)

    @rule(another=st.sampled_from([False, False, True]))
    def report_as(self, another: bool) -> None:
        """Let all later reports name the call that the runner started, or another one."""
        self.other_call_id = "call-of-another" if another else None

    @rule(pick=picks, ahead=attempts, run=runs, steps_ahead=steps, reached=reached)
    def tick(self, pick: int, ahead: int, run: str, steps_ahead: int, reached: tuple[Phase, float]) -> None:
        self.advance(EventType.PROGRESS, self.pick_job(pick, ahead, run), steps_ahead, *reached)

    @rule(pick=picks, ahead=attempts, run=runs, steps_ahead=steps)
    def report_started(self, pick: int, ahead: int, run: str, steps_ahead: int) -> None:
        self.advance(EventType.STARTED, self.pick_job(pick, ahead, run), steps_ahead, Phase.STARTING, 0)

    @rule(pick=picks, ahead=attempts, run=runs, steps_ahead=steps, finalizer=if_finalizer)
    def report_completed(
        self, pick: int, ahead: int, run: str, steps_ahead: int, finalizer: str | None
    ) -> None:
        job = self.pick_job(pick, ahead, run)
        end = {"status": "complete", "phase": "done", "progress": 100, "completed_at": self.now}
        self.report(EventType.COMPLETED, job, steps_ahead, end, is_transition=True, finalizer=finalizer)

    @rule(
        pick=picks,
        ahead=attempts,
        run=runs,
        steps_ahead=steps,
        transient=st.booleans(),
        finalizer=if_finalizer,
    )
    def report_failed(
        self,
        pick: int,
        ahead: int,
        run: str,
        steps_ahead: int,
        transient: bool,
        finalizer: str | None,
    ) -> None:
        job = self.pick_job(pick, ahead, run)
        end: Row = {"status": "error", "phase": "done", "error_code": "broken", "completed_at": self.now}
        if transient and job.attempt < job.attempt_limit:
            end = first_columns(job)
        self.report(
            EventType.FAILED,
            job,
            steps_ahead,
            end,
            is_transition=True,
            transient=transient,
            finalizer=finalizer,
        )

    @rule(pick=picks, ahead=attempts, run=runs, steps_ahead=steps, finalizer=finalizers)
    def finalize(self, pick: int, ahead: int, run: str, steps_ahead: int, finalizer: str) -> None:
        job = self.pick_job(pick, ahead, run)
        step = max(1, job.step + steps_ahead)
        claim = self.change(EventType.COMPLETED, job, step)

        async def finalize() -> Job | None:
            async with self.database.transaction() as session:
                return await finalize_leases.acquire(
                    session, claim.report, finalizer, lease_seconds=LEASE_SECONDS, now=self.now
                )

        row = self.rows[job.job_id]
        ours = row["call_id"] in (None, claim.report.call_id) and row["finalizer"] is None
        expected = {"status": "processing", "phase": "finalizing", "lease_until": self.now + LEASE_SECONDS}
        expected |= {
            "finalizer": finalizer,
            "run": job.run,
            "step": step - 1,
        }  # what comes late does not undo it
        self.check_transition(
            finalize(), job, self.is_active(job) and self.is_newer(job, step) and ours, expected
        )

    @rule(pick=picks, ahead=attempts, charge=st.sampled_from(Charge))
    def requeue(self, pick: int, ahead: int, charge: Charge) -> None:
        job = self.pick_job(pick, ahead)

        async def requeue() -> Job | None:
            async with self.database.transaction() as session:
                return await transitions.requeue(
                    session,
                    job,
                    "Lost.",
                    reason="run_lost",
                    charge=charge,
                    not_before=self.now + 5,
                    now=self.now,
                )

        is_allowed = self.is_active(job) and (job.attempt < job.attempt_limit or charge is not Charge.FAILURE)
        expected = first_columns(job) | {"not_before": self.now + 5}
        if charge is not Charge.FAILURE:
            expected["attempt_limit"] = job.attempt_limit + 1
        expected["interruptions"] = job.interruptions + (charge is Charge.INTERRUPTION)
        self.check_transition(requeue(), job, is_allowed, expected)

    @rule(pick=picks, ahead=attempts)
    def fail(self, pick: int, ahead: int) -> None:
        job = self.pick_job(pick, ahead)

        async def fail() -> Job | None:
            async with self.database.transaction() as session:
                return await transitions.fail(session, job, "deadline_exceeded", "Too long.", now=self.now)

        end: Row = {"status": "error", "phase": "done", "error_code": "deadline_exceeded"}
        self.check_transition(fail(), job, self.is_active(job), end)

    @rule(pick=picks, stranger=st.sampled_from([False, False, False, True]))
    def cancel(self, pick: int, stranger: bool) -> None:
        job = self.pick_job(pick)
        user = "eve" if stranger else job.user_id

        async def cancel() -> Job | None:
            async with self.database.transaction() as session:
                return await transitions.cancel(session, user, job.job_id, now=self.now)

        count_running = (
            job.lease_until if job.phase is Phase.FINALIZING else None
        )  # until its output is no longer being moved
        end = {"status": "cancelled", "phase": "done", "completed_at": self.now, "lease_until": count_running}
        self.check_transition(cancel(), job, self.is_active(job) and not stranger, end)

    @rule(pick=picks, stranger=st.sampled_from([False, False, False, True]))
    def retry(self, pick: int, stranger: bool) -> None:
        job = self.pick_job(pick)
        user = "eve" if stranger else job.user_id

        async def retry() -> Job | None:
            async with self.database.transaction() as session:
                return await transitions.retry(session, user, job.job_id, attempts=LIMIT, now=self.now)

        expected = first_columns(job) | {
            "attempt_limit": job.attempt + LIMIT,
            "not_before": 0.0,
            "error_code": None,
        }
        free = job.lease_until is None or job.lease_until <= self.now
        self.check_transition(
            retry(), job, job.status in ("error", "cancelled") and free and not stranger, expected
        )

    @rule(pick=picks, finalizer=finalizers)
    def release(self, pick: int, finalizer: str) -> None:
        job = self.pick_job(pick)

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
                count_running = {finalizer: theirs[-1] if theirs else "job-0"}
                return await finalize_leases.renew(
                    session, count_running, lease_seconds=LEASE_SECONDS, now=self.now
                )

        theirs = [job_id for job_id, row in self.rows.items() if row["finalizer"] == finalizer]
        assert self.run(renew()) == ({finalizer} if theirs else set())
        self.check({job_id: {"lease_until": self.now + LEASE_SECONDS} for job_id in theirs[-1:]})

    @rule(pick=picks)
    def acknowledge(self, pick: int) -> None:
        job = self.pick_job(pick)

        async def acknowledge() -> list[Job]:
            async with self.database.transaction() as session:
                return await acknowledgements.acknowledge(
                    session, job.user_id, [job.job_id, "other"], now=self.now
                )

        new = job.status in FINAL and job.acknowledged_at is None
        assert bool(self.run(acknowledge())) is new
        self.check({job.job_id: {"acknowledged_at": self.now}} if new else {})

    @rule()
    def lease_silent_jobs(self) -> None:
        async def silent() -> list[Job]:
            async with self.database.transaction() as session:
                seen = [job for job in await leases.list_watched(session) if job.job_id in quiet]
                return await leases.lease_silent(
                    session, seen, lease_seconds=SILENCE_SECONDS / 2, now=self.now
                )

        quiet = {
            str(row["job_id"])
            for row in self.rows.values()
            if row["status"] in ACTIVE
            and (row["call_id"] is not None or row["status"] == "processing")
            and to_seconds(row["heartbeat_at"]) < self.now - SILENCE_SECONDS
            and (row["lease_until"] is None or to_seconds(row["lease_until"]) < self.now)
        }
        assert {job.job_id for job in self.run(silent())} == quiet
        self.check(
            {job_id: {"lease_until": self.now + SILENCE_SECONDS / 2, "finalizer": None} for job_id in quiet}
        )

    @rule()
    def list_lapsed_leases(self) -> None:
        async def list_lapsed() -> list[Job]:
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
            and to_seconds(row["lease_until"]) < self.now
        }
        assert {job.job_id for job in self.run(list_lapsed())} == lost
        self.check({})


@pytest.mark.parametrize(
    ("kind", "examples"),
    [pytest.param("sqlite", 20, id="sqlite"), pytest.param("postgresql", 12, id="postgresql")],
)
def test_any_order_of_events_leaves_a_job_that_the_model_knows(
    kind: str, examples: int, request: pytest.FixtureRequest
) -> None:
    class Life(JobEvents):
        url = request.getfixturevalue(f"{kind}_url")

    settings = hypothesis.settings(
        max_examples=examples,
        stateful_step_count=40,
        suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.filter_too_much],
    )
    hypothesis.stateful.run_state_machine_as_test(Life, settings=settings)


@pytest.mark.parametrize("kind", [EventType.STARTED, EventType.PROGRESS, EventType.FAILED])
async def test_a_callback_for_an_unknown_job_is_unknown(database: SqliteDatabase, kind: EventType) -> None:
    writer = BatchWriter(database, job_factory.FakeChanges())
    change = job_factory.build_change(kind, "unknown", 1, 1, now=1.0)
    assert await job_factory.write_changes(writer, change) == [Refusal.UNKNOWN]
