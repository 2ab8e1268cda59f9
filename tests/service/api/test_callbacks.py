"""`POST /api/callbacks/{job_id}`: what callbacks change, and what their responses mean."""

from contextlib import AsyncExitStack

import pytest
from sqlalchemy import text

from service.settings import Settings
from tests.support.app_harness import AppHarness, open_app
from tests.support.fakes import FakeRun, FakeRunner


@pytest.mark.parametrize("step", [1, 2, 3], ids=["the first", "one before", "the last"])
async def test_a_repeated_step_gets_the_current_sequence_and_changes_nothing(
    app: AppHarness, run: FakeRun, step: int
) -> None:
    before = await app.fetch_row(run.spec.job_id)
    answer = await run.post(run.body("export.progress", step=step, progress=99, phase="uploading"))
    assert (answer.status_code, answer.json()) == (200, {"sequence": before["sequence"]})
    assert await app.fetch_row(run.spec.job_id) == before


async def test_each_accepted_step_counts_the_sequence_up_by_one(app: AppHarness, run: FakeRun) -> None:
    first = (await app.fetch_row(run.spec.job_id))["sequence"]
    assert isinstance(first, int)
    sequences = [(await run.report_progress(progress)).json()["sequence"] for progress in (30, 40, 40, 35)]
    assert sequences == [first + 1, first + 2, first + 3, first + 4]
    assert (await app.fetch_row(run.spec.job_id))["progress"] == 40


async def test_only_a_complete_export_shows_100_percent(app: AppHarness, run: FakeRun) -> None:
    await run.report_progress(100)
    shown = (await app.client.get(f"/api/exports/{run.spec.job_id}")).json()
    assert (shown["status"], shown["progress"]) == ("processing", 99.9)


async def test_a_repeated_completion_gets_the_same_sequence(app: AppHarness, run: FakeRun) -> None:
    first = await app.complete_run(run)
    row = await app.fetch_row(run.spec.job_id)
    again = await app.complete_run(run.at_step(run.step - 1))
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json() == {"sequence": row["sequence"]}
    assert await app.fetch_row(run.spec.job_id) == row
    assert row["status"] == "complete"
    ends = [event for event in await app.fetch_timeline(run.spec.job_id) if event["status"] == "complete"]
    assert len(ends) == 1


async def test_a_repeated_failure_gets_the_same_sequence(app: AppHarness, run: FakeRun) -> None:
    first = await run.report_failed()
    row = await app.fetch_row(run.spec.job_id)
    again = await run.at_step(run.step - 1).report_failed()
    assert first.json() == again.json() == {"sequence": row["sequence"]}
    assert await app.fetch_row(run.spec.job_id) == row
    assert (row["status"], row["error_code"]) == ("error", "no_video")


async def test_callbacks_after_the_end_are_answered_410(app: AppHarness, run: FakeRun) -> None:
    await run.report_failed()
    row = await app.fetch_row(run.spec.job_id)
    answers = [
        await run.report_progress(90),
        await run.report_started(),
        await run.report_failed(),
        await app.complete_run(run),
    ]
    assert [answer.status_code for answer in answers] == [410] * 4
    assert await app.fetch_row(run.spec.job_id) == row


async def test_the_run_of_a_cancelled_export_is_answered_410_and_leaves_no_output(
    app: AppHarness, run: FakeRun
) -> None:
    job_id = run.spec.job_id
    assert (await app.client.delete(f"/api/exports/{job_id}")).status_code == 202
    row = await app.fetch_row(job_id)
    answers = [await run.report_progress(90), await run.report_failed(), await app.complete_run(run)]
    assert [answer.status_code for answer in answers] == [410] * 3
    assert await app.fetch_row(job_id) == row
    assert app.runner.cancelled == [run.spec.call_id]
    assert await app.state["storage"].find("local", str(row["output_key"])) is None


async def test_a_transient_failure_starts_the_next_attempt(app: AppHarness, run: FakeRun) -> None:
    first = await run.report_failed(transient=True)
    again = await run.at_step(run.step - 1).report_failed(transient=True)
    row = await app.fetch_row(run.spec.job_id)
    assert (first.status_code, again.status_code) == (200, 410)
    assert (row["status"], row["attempt"], row["progress"]) == ("pending", 2, 0)


async def test_a_missing_output_is_never_complete(app: AppHarness, run: FakeRun) -> None:
    answer = await run.report_completed(size=3)
    row = await app.fetch_row(run.spec.job_id)
    assert answer.status_code == 200
    assert (row["status"], row["attempt"]) == ("pending", 2)
    assert "missing in storage" in str(row["message"])


async def test_an_output_with_another_checksum_is_never_complete(app: AppHarness, run: FakeRun) -> None:
    app.put_output(run, b"12345")
    await run.report_completed(size=5)
    row = await app.fetch_row(run.spec.job_id)
    assert (row["status"], row["attempt"]) == ("pending", 2)


async def test_the_run_before_a_retry_is_answered_410(app: AppHarness, run: FakeRun) -> None:
    await run.report_failed()
    answer = await app.client.post(f"/api/exports/{run.spec.job_id}/retry")
    assert answer.status_code == 202
    second = await app.next_run()
    await second.report_started()
    row = await app.fetch_row(run.spec.job_id)
    assert (await run.at_step(0).report_started()).status_code == 410
    assert await app.fetch_row(run.spec.job_id) == row


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_a_database_error_is_answered_503_and_a_repetition_is_stored(
    database: str, settings: Settings, stack: AsyncExitStack, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(f"{database}_url")
    changed = settings.model_copy(update={"database_url": url})
    app = await stack.enter_async_context(open_app(changed, FakeRunner()))
    await app.submit_export()
    run = await app.next_run()
    await run.report_started()
    async with app.database.transaction() as session:
        for statement in REFUSE[database]:
            await session.execute(text(statement))

    failed = await run.report_progress(30)
    async with app.database.transaction() as session:
        await session.execute(text(MEND[database]))
    again = await run.at_step(run.step - 1).report_progress(30)

    assert (failed.status_code, failed.headers.get("retry-after")) == (503, "2")
    assert again.status_code == 200
    assert (await app.fetch_row(run.spec.job_id))["progress"] == 30


_CONDITION = "trouble BEFORE UPDATE ON export_jobs"
_FUNCTION = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$"
REFUSE = {
    "sqlite": [f"CREATE TRIGGER {_CONDITION} WHEN new.progress = 30 BEGIN SELECT RAISE(ABORT, 'no'); END"],
    "postgresql": [
        _FUNCTION,
        f"CREATE TRIGGER {_CONDITION} FOR EACH ROW WHEN (new.progress = 30) EXECUTE FUNCTION refuse()",
    ],
}
MEND = {"sqlite": "DROP TRIGGER trouble", "postgresql": "DROP FUNCTION refuse CASCADE"}


async def test_a_failover_of_the_database_costs_a_callback_one_repetition(
    settings: Settings, stack: AsyncExitStack, postgresql_url: str
) -> None:
    changed = settings.model_copy(update={"database_url": postgresql_url})
    app = await stack.enter_async_context(open_app(changed, FakeRunner()))
    await app.submit_export()
    run = await app.next_run()
    await run.report_started()
    async with app.database.reading() as session:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        await session.execute(text(others))

    answers = [(await run.at_step(1).report_progress(30)).status_code for _ in range(2)]

    assert answers in ([200, 200], [503, 200])
    assert (await app.fetch_row(run.spec.job_id))["progress"] == 30
