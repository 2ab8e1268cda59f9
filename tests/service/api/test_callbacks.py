"""`POST /api/callbacks/{job_id}`: who may tell what, and what an answer means."""

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import quote

import httpx
import hypothesis
import pytest
from hypothesis import strategies as st
from sqlalchemy import text

from callbacks.signing import derive_attempt_key, signature_headers
from service.settings import Settings
from tests.service.conftest import MASTER
from tests.support.app_harness import AppHarness, open_app
from tests.support.fakes import FakeRun, FakeRunner

JSON = {"content-type": "application/json"}

Attack = Callable[[FakeRun], Awaitable[httpx.Response]]


@pytest.fixture
async def run(app: AppHarness) -> FakeRun:
    """A run in its third step."""
    await app.submit_export()
    run = await app.next_run()
    await run.report_started()
    await run.report_progress(10, "downloading")
    await run.report_progress(20)
    return run


def key_of(job_id: str, attempt: int, master: str = MASTER) -> bytes:
    return derive_attempt_key(master.encode(), job_id, attempt)


def tick(run: FakeRun, **changes: object) -> bytes:
    return run.body("export.progress", **{"step": run.step + 1, **changes})


def without(headers: dict[str, str], name: str) -> dict[str, str]:
    return {other: value for other, value in headers.items() if other != name}


async def unsigned(run: FakeRun) -> httpx.Response:
    return await run.post(tick(run), JSON)


async def without_timestamp(run: FakeRun) -> httpx.Response:
    body = tick(run)
    return await run.post(body, without(run.sign(body), "webhook-timestamp"))


async def forged(run: FakeRun) -> httpx.Response:
    body = tick(run)
    return await run.post(body, run.sign(body, key=b"k" * 32))


async def altered(run: FakeRun) -> httpx.Response:
    return await run.post(tick(run, progress=99), run.sign(tick(run)))


async def of_another_attempt(run: FakeRun) -> httpx.Response:
    body = tick(run)
    return await run.post(body, run.sign(body, key=key_of(run.spec.job_id, 2)))


async def of_another_job(run: FakeRun) -> httpx.Response:
    body = tick(run)
    return await run.post(body, run.sign(body, key=key_of("another", 1)))


async def of_another_master(run: FakeRun) -> httpx.Response:
    body = tick(run)
    return await run.post(body, run.sign(body, key=key_of(run.spec.job_id, 1, "x" * 48)))


async def too_old(run: FakeRun) -> httpx.Response:
    body = tick(run)
    return await run.post(body, run.sign(body, age_seconds=303))


async def too_new(run: FakeRun) -> httpx.Response:
    body = tick(run)
    return await run.post(body, run.sign(body, age_seconds=-303))


async def too_large(run: FakeRun) -> httpx.Response:
    body = tick(run, message="x" * 65_536)
    return await run.post(body)


async def too_large_in_chunks(run: FakeRun) -> httpx.Response:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(70):
            yield b" " * 1_024

    return await run._client.post(run.url, content=chunks(), headers=run.sign(b""))


async def a_form(run: FakeRun) -> httpx.Response:
    body = tick(run)
    return await run.post(body, run.sign(body) | {"content-type": "text/plain"})


async def without_a_type(run: FakeRun) -> httpx.Response:
    body = tick(run)
    return await run.post(body, without(run.sign(body), "content-type"))


def shaped(**changes: object) -> Attack:
    async def attack(run: FakeRun) -> httpx.Response:
        return await run.post(tick(run, **changes))

    return attack


def told(kind: str, **changes: object) -> Attack:
    async def attack(run: FakeRun) -> httpx.Response:
        return await run.post(run.body(kind, **{"step": run.step + 1, **changes}))

    return attack


def replaced(old: bytes, new: bytes) -> Attack:
    async def attack(run: FakeRun) -> httpx.Response:
        return await run.post(tick(run).replace(old, new))

    return attack


async def of_another_export(run: FakeRun) -> httpx.Response:
    return await run.post(tick(run, job_id="another"))


async def of_an_unknown_job(run: FakeRun) -> httpx.Response:
    elsewhere = run.at_step(run.step)
    elsewhere.url = "/api/callbacks/unknown"
    body = tick(run, job_id="unknown")
    return await elsewhere.post(body, run.sign(body, key=key_of("unknown", 1)))


async def of_a_later_attempt(run: FakeRun) -> httpx.Response:
    body = tick(run, attempt=2, step=1)
    return await run.post(body, run.sign(body, key=key_of(run.spec.job_id, 2)))


@pytest.mark.parametrize(
    ("attack", "status"),
    [
        pytest.param(unsigned, 401, id="unsigned"),
        pytest.param(without_timestamp, 401, id="without a timestamp"),
        pytest.param(forged, 401, id="signed with an invented key"),
        pytest.param(altered, 401, id="altered after it was signed"),
        pytest.param(of_another_attempt, 401, id="signed with another attempt's key"),
        pytest.param(of_another_job, 401, id="signed with another job's key"),
        pytest.param(of_another_master, 401, id="signed under another master secret"),
        pytest.param(too_old, 401, id="older than five minutes"),
        pytest.param(too_new, 401, id="from more than five minutes ahead"),
        pytest.param(too_large, 413, id="too large"),
        pytest.param(too_large_in_chunks, 413, id="too large, of undeclared length"),
        pytest.param(a_form, 415, id="not JSON by its type"),
        pytest.param(without_a_type, 415, id="of no type"),
        pytest.param(shaped(progress="much"), 422, id="progress that is no number"),
        pytest.param(shaped(progress=101), 422, id="more than all"),
        pytest.param(shaped(progress=-1), 422, id="less than nothing"),
        pytest.param(replaced(b'"progress":50', b'"progress":NaN'), 422, id="NaN"),
        pytest.param(replaced(b'"progress":50', b'"progress":1e999'), 422, id="infinite"),
        pytest.param(shaped(phase="sleeping"), 422, id="an unknown phase"),
        pytest.param(shaped(step=0), 422, id="step 0"),
        pytest.param(shaped(surprise=1), 422, id="an unknown field"),
        pytest.param(shaped(message="\0"), 422, id="a NUL"),
        pytest.param(told("export.cancelled"), 422, id="a cancel, which is not the run's to tell"),
        pytest.param(told("export.completed"), 422, id="completed without output"),
        pytest.param(told("export.failed"), 422, id="failed without an error"),
        pytest.param(of_another_export, 422, id="about another export"),
        pytest.param(of_an_unknown_job, 404, id="about an unknown export"),
        pytest.param(of_a_later_attempt, 410, id="about an attempt that is yet to come"),
    ],
)
async def test_what_is_not_right_is_refused_and_changes_nothing(
    app: AppHarness, run: FakeRun, attack: Attack, status: int
) -> None:
    job_id = run.spec.job_id
    before = await app.fetch_row(job_id)

    answer = await attack(run)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert await app.fetch_row(job_id) == before
    assert (await run.report_progress(30)).json() == {"sequence": before["sequence"] + 1}  # type: ignore[operator]


@pytest.mark.parametrize("age_seconds", [-298, 298])
async def test_a_clock_may_be_off_by_almost_five_minutes(run: FakeRun, age_seconds: int) -> None:
    body = tick(run)
    assert (await run.post(body, run.sign(body, age_seconds=age_seconds))).status_code == 200


@pytest.mark.parametrize("step", [1, 2, 3], ids=["the first", "one before", "the last"])
async def test_a_step_that_is_known_is_answered_with_the_present_sequence_and_changes_nothing(
    app: AppHarness, run: FakeRun, step: int
) -> None:
    before = await app.fetch_row(run.spec.job_id)
    answer = await run.post(run.body("export.progress", step=step, progress=99, phase="uploading"))
    assert (answer.status_code, answer.json()) == (200, {"sequence": before["sequence"]})
    assert await app.fetch_row(run.spec.job_id) == before


async def test_each_accepted_step_counts_the_sequence_up_by_one(app: AppHarness, run: FakeRun) -> None:
    first = (await app.fetch_row(run.spec.job_id))["sequence"]
    assert isinstance(first, int)
    told = [(await run.report_progress(progress)).json()["sequence"] for progress in (30, 40, 40, 35)]
    assert told == [first + 1, first + 2, first + 3, first + 4]
    assert (await app.fetch_row(run.spec.job_id))["progress"] == 40


async def test_nothing_but_a_complete_export_shows_all_of_its_progress(app: AppHarness, run: FakeRun) -> None:
    await run.report_progress(100)
    shown = (await app.client.get(f"/api/exports/{run.spec.job_id}")).json()
    assert (shown["status"], shown["progress"]) == ("processing", 99.9)


async def test_the_end_is_stored_once_and_told_again_with_the_same_sequence(
    app: AppHarness, run: FakeRun
) -> None:
    first = await app.complete_run(run)
    row = await app.fetch_row(run.spec.job_id)
    again = await app.complete_run(run.at_step(run.step - 1))
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json() == {"sequence": row["sequence"]}
    assert await app.fetch_row(run.spec.job_id) == row
    assert row["status"] == "complete"
    ends = [event for event in await app.fetch_timeline(run.spec.job_id) if event["status"] == "complete"]
    assert len(ends) == 1


async def test_a_failure_is_stored_once_and_told_again_with_the_same_sequence(
    app: AppHarness, run: FakeRun
) -> None:
    first = await run.report_failed()
    row = await app.fetch_row(run.spec.job_id)
    again = await run.at_step(run.step - 1).report_failed()
    assert first.json() == again.json() == {"sequence": row["sequence"]}
    assert await app.fetch_row(run.spec.job_id) == row
    assert (row["status"], row["error_code"]) == ("error", "no_video")


async def test_whatever_comes_after_the_end_is_gone(app: AppHarness, run: FakeRun) -> None:
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


async def test_a_cancelled_export_is_gone_for_its_run_and_keeps_no_output(
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


async def test_a_failure_that_may_pass_brings_the_next_attempt_and_ends_this_one(
    app: AppHarness, run: FakeRun
) -> None:
    first = await run.report_failed(transient=True)
    again = await run.at_step(run.step - 1).report_failed(transient=True)
    row = await app.fetch_row(run.spec.job_id)
    assert (first.status_code, again.status_code) == (200, 410)
    assert (row["status"], row["attempt"], row["progress"]) == ("pending", 2, 0)


async def test_an_output_that_is_not_there_is_never_complete(app: AppHarness, run: FakeRun) -> None:
    answer = await run.report_completed(size=3)
    row = await app.fetch_row(run.spec.job_id)
    assert answer.status_code == 200
    assert (row["status"], row["attempt"]) == ("pending", 2)
    assert "did not arrive" in str(row["message"])


async def test_an_output_that_differs_from_what_was_promised_is_never_complete(
    app: AppHarness, run: FakeRun
) -> None:
    app.put_output(run, b"12345")
    await run.report_completed(size=5)
    row = await app.fetch_row(run.spec.job_id)
    assert (row["status"], row["attempt"]) == ("pending", 2)


async def test_the_run_before_a_retry_is_gone(app: AppHarness, run: FakeRun) -> None:
    await run.report_failed()
    answer = await app.client.post(f"/api/exports/{run.spec.job_id}/retry")
    assert answer.status_code == 202
    second = await app.next_run()
    await second.report_started()
    row = await app.fetch_row(run.spec.job_id)
    assert (await run.at_step(0).report_started()).status_code == 410
    assert await app.fetch_row(run.spec.job_id) == row


anything = st.one_of(
    st.binary(max_size=300),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("data"), inner),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
    st.dictionaries(
        st.sampled_from(["attempt", "step", "job_id"]), st.integers() | st.text() | st.floats(), max_size=3
    ).map(lambda told: json.dumps({"data": told}).encode()),
)
header_text = st.text(
    st.characters(min_codepoint=1, max_codepoint=255, exclude_characters="\r\n"), max_size=40
)


@hypothesis.settings(max_examples=300, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(
    body=anything,
    told=st.dictionaries(
        st.sampled_from(
            ["webhook-id", "webhook-timestamp", "webhook-signature", "content-length", "content-type"]
        ),
        header_text,
    ),
    job_id=st.text(st.characters(codec="utf-8", exclude_characters="/?#"), min_size=1, max_size=90),
)
@hypothesis.example(
    body=b'{"data":{"attempt":%s}}' % (b"9" * 5_000),
    told={"webhook-id": "a", "webhook-timestamp": "1", "webhook-signature": "v1,"},
    job_id="job",
)
@hypothesis.example(body=b'{"data":' + b"[" * 30_000, told={"webhook-signature": "v1,"}, job_id="job")
@hypothesis.example(body=b"{}", told={"content-length": "\xb2", "webhook-signature": ""}, job_id="job")
@hypothesis.example(body=b"{}", told={"content-length": "9" * 5_000}, job_id="job")
async def test_no_bytes_at_all_make_it_fail(
    app: AppHarness, body: bytes, told: dict[str, str], job_id: str
) -> None:
    headers = {"host": "127.0.0.1:8000", "content-type": "application/json", **told}
    request = app.client.build_request("POST", f"/api/callbacks/{quote(job_id)}", content=body)
    request.headers = httpx.Headers(
        [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    )
    answer = await app.client.send(request)
    assert answer.status_code in (401, 404, 405, 413, 415, 422)


@hypothesis.settings(max_examples=150, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(
    told=st.dictionaries(
        st.sampled_from(
            [
                "attempt",
                "step",
                "call_id",
                "run",
                "phase",
                "progress",
                "message",
                "eta_seconds",
                "gpu_seconds",
            ]
        ),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()),
    ),
    kind=st.sampled_from(["export.progress", "export.started", "export.failed", "export.completed", ""]),
    ending=st.dictionaries(
        st.sampled_from(["size", "checksum", "duration", "width", "code", "message", "transient"]),
        st.integers() | st.text() | st.floats() | st.booleans(),
    ),
)
async def test_no_signed_body_makes_it_fail(
    app: AppHarness, told: dict[str, Any], kind: str, ending: dict[str, Any]
) -> None:
    usual = {"job_id": "job", "attempt": 1, "step": 1, "call_id": "c", "phase": "processing", "progress": 1}
    extra = {"export.failed": {"error": ending}, "export.completed": {"output": ending}}.get(kind, {})
    report = {**usual, "message": "", **told, **extra}
    moment = "2026-01-01T00:00:00Z"
    body = json.dumps({"type": kind, "timestamp": moment, "data": report}).encode()
    attempt = report["attempt"] if isinstance(report["attempt"], int) else 1
    headers = signature_headers(key_of("job", attempt), "msg_1", int(time.time()), body)
    answer = await app.client.post("/api/callbacks/job", content=body, headers=headers | JSON)
    assert answer.status_code in (401, 404, 422)


async def test_a_very_long_path_is_not_kept_in_memory(app: AppHarness) -> None:
    body = b'{"data":{"attempt":1}}'
    headers = JSON | {"webhook-id": "a", "webhook-timestamp": "1", "webhook-signature": "v1,"}
    answer = await app.client.post(f"/api/callbacks/{'x' * 5_000}", content=body, headers=headers)
    assert answer.status_code == 404


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_a_database_that_fails_is_answered_with_later_and_a_repetition_is_stored(
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


async def test_a_failover_of_the_database_costs_a_callback_no_more_than_a_repetition(
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
