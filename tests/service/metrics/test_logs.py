"""One line for each change of an export and for each request, and none for quiet progress."""

import logging
from collections.abc import Iterator
from contextlib import AsyncExitStack

import httpx
import pytest

from callbacks.log_format import JsonFormatter
from service.dispatch.runners import Failed
from service.settings import Settings
from service.startup.logging_setup import show_users
from tests.service.conftest import bearer, token
from tests.service.metrics.log_lines import LogLines, record_log
from tests.support.app_harness import AppHarness, open_app
from tests.support.fakes import FakeRunner

pytestmark = pytest.mark.anyio

HOSTILE = "a\r\nforged\x1b[31m\u2028 line"


@pytest.fixture
def log() -> Iterator[LogLines]:
    with record_log() as lines:
        yield lines


async def test_each_change_of_an_export_is_one_line(app: AppHarness, log: LogLines) -> None:
    job = await app.submit_export(headers={"x-request-id": "req-1"})
    run = await app.next_run()
    await run.report_started()
    call_id = str(run.spec.call_id)
    app.runner.statuses[call_id] = Failed("run_lost", "It is gone.", transient=True, interrupted=True)
    app.runner.ended_calls.append(call_id)
    app.runner.freed.set()
    run = await app.next_run()
    await run.report_started()
    for progress in range(10, 90, 10):
        await run.report_progress(progress)
    await app.complete_run(run)
    await app.state["scraper"].recorder.drain()
    lines = log.events("export.")
    assert [line["event"].removeprefix("export.") for line in lines] == [
        *("created", "started", "attempt_lost", "started", "ended")
    ]
    common = {"job": job["job_id"], "user": "local", "type": "framing", "runner": "local"}
    for line in lines:
        assert common.items() <= line.items()
        assert {"time", "level", "logger", "message"} <= line.keys()
    created, _, lost, _, ended = lines
    assert created["request_id"] == "req-1"
    assert (lost["reason"], lost["attempt"], lost["next_attempt"]) == ("run_lost", 1, 2)
    assert (ended["status"], ended["attempt"]) == ("complete", 2)
    assert set(ended["phases"]) == {"queued", "cold_start", "starting", "processing", "finalizing"}
    assert sum(ended["phases"].values()) >= ended["seconds"] - 0.1
    assert ended["cost_usd"] == 0


async def test_an_export_that_is_tried_again_by_its_owner_has_its_own_times(
    app: AppHarness, log: LogLines
) -> None:
    job = await app.submit_export()
    run = await app.next_run()
    await run.report_started()
    await run.report_failed(code="no_video")
    await app.client.post(f"/api/exports/{job['job_id']}/retry")
    await app.next_run()
    await app.client.delete(f"/api/exports/{job['job_id']}")
    await app.state["scraper"].recorder.drain()
    failed, cancelled = log.events("export.ended")
    assert (failed["status"], failed["code"]) == ("error", "no_video")
    assert (cancelled["status"], "code" in cancelled) == ("cancelled", False)
    assert {"starting", "processing"} & set(failed["phases"])
    assert set(cancelled["phases"]) <= {"queued", "cold_start"}
    assert len(log.events("export.retried")) == 1


async def test_a_request_is_one_line_with_its_fields_and_no_query(
    multi_user_app: AppHarness, log: LogLines
) -> None:
    path = f"/api/exports/{HOSTILE.encode().hex()}"
    answer = await multi_user_app.client.get(f"{path}?ticket=hunter2", headers=bearer("ada"))
    (line,) = log.events("http.request")
    assert (line["method"], line["path"], line["status"], line["user"]) == ("GET", path, 404, "ada")
    assert line["request_id"] == answer.headers["x-request-id"]
    assert line["milliseconds"] >= 0
    assert "hunter2" not in "".join(log.text)


async def test_quiet_progress_and_other_callbacks_log_nothing(app: AppHarness, log: LogLines) -> None:
    await app.submit_export()
    run = await app.next_run()
    await run.report_started()
    await run.report_progress(10)
    before = len(log.text)
    for progress in range(20, 90, 10):
        assert (await run.report_progress(progress)).status_code == 200
    assert log.text[before:] == []


async def test_a_probe_or_scrape_is_a_line_only_if_it_fails(app: AppHarness, log: LogLines) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        assert (await app.client.get(path)).status_code == 200
        await app.client.post(path)
    lines = log.events("http.request")
    assert [(line["method"], line["path"]) for line in lines] == [
        *(("POST", "/healthz"), ("POST", "/readyz"), ("POST", "/metrics"))
    ]


@pytest.mark.parametrize("sent", ["", "a b", "x" * 129, "ü", "<script>"])
async def test_an_id_that_can_not_be_used_is_replaced(app: AppHarness, sent: str) -> None:
    headers = httpx.Headers({"x-request-id": sent}, encoding="utf-8")
    answer = await app.client.get("/healthz", headers=headers)
    assert len(answer.headers.get_list("x-request-id")) == 1
    assert answer.headers["x-request-id"] != sent
    assert len(answer.headers["x-request-id"]) == 32


async def test_every_answer_has_an_id_also_a_refusal_and_a_stream(app: AppHarness) -> None:
    job = await app.submit_export()
    for path in ("/api/exports/unknown", "/no/such/path", f"/api/exports/{job['job_id']}", "/docs"):
        answer = await app.client.get(path, headers={"x-request-id": "mine:1"})
        assert answer.headers["x-request-id"] == "mine:1"


@pytest.mark.parametrize("mode", ["plain", "hashed", "none"])
async def test_users_are_named_as_the_setting_says(
    users_settings: Settings, stack: AsyncExitStack, log: LogLines, mode: str
) -> None:
    changed = users_settings.model_copy(update={"log_users": mode})
    for _ in range(2):
        app = await stack.enter_async_context(open_app(changed, FakeRunner()))
        await app.client.get("/api/exports", headers=bearer("ada"))
    named = [line.get("user") for line in log.events("http.request")]
    assert len(set(named)) == 1
    if mode == "plain":
        assert named[0] == "ada"
    else:
        assert "ada" not in "".join(log.text)
        assert (named[0] is None) == (mode == "none")


def test_users_have_other_hashes_with_another_key(log: LogLines) -> None:
    formatter = log.formatter
    assert isinstance(formatter, JsonFormatter)
    hashes = set()
    for key in (b"one key", b"another key"):
        show_users("hashed", key)
        hashes |= {formatter.show_user("ada"), formatter.show_user("bob")}
    assert len(hashes) == 4


def test_what_comes_from_outside_forges_no_line_and_shows_no_token(log: LogLines) -> None:
    fields = {"path": f"{HOSTILE} {token()}", "count": 3}
    logging.getLogger("framehook.access").warning(
        "GET", extra={"event": "http.request", "user": HOSTILE, "fields": fields, "request_id": HOSTILE}
    )
    (text,) = log.text
    assert text.isprintable()
    (line,) = log.lines
    assert line["count"] == 3
    assert "[token]" in line["path"]
