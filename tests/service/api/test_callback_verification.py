"""`POST /api/callbacks/{job_id}`: only valid, signed callbacks are applied."""

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import quote

import httpx
import hypothesis
import pytest
from hypothesis import strategies as st

from callbacks.signing import derive_attempt_key, signature_headers
from tests.service.conftest import MASTER
from tests.support.app_harness import AppHarness
from tests.support.fakes import FakeRun

JSON = {"content-type": "application/json"}

Attack = Callable[[FakeRun], Awaitable[httpx.Response]]


def attempt_key(job_id: str, attempt: int, master: str = MASTER) -> bytes:
    return derive_attempt_key(master.encode(), job_id, attempt)


def progress_body(run: FakeRun, **changes: object) -> bytes:
    return run.body("export.progress", **{"step": run.step + 1, **changes})


def omit_header(headers: dict[str, str], name: str) -> dict[str, str]:
    return {other: value for other, value in headers.items() if other != name}


async def post_unsigned(run: FakeRun) -> httpx.Response:
    return await run.post(progress_body(run), JSON)


async def post_without_timestamp(run: FakeRun) -> httpx.Response:
    body = progress_body(run)
    return await run.post(body, omit_header(run.sign(body), "webhook-timestamp"))


async def post_with_wrong_key(run: FakeRun) -> httpx.Response:
    body = progress_body(run)
    return await run.post(body, run.sign(body, key=b"k" * 32))


async def post_altered(run: FakeRun) -> httpx.Response:
    return await run.post(progress_body(run, progress=99), run.sign(progress_body(run)))


async def post_with_key_of_another_attempt(run: FakeRun) -> httpx.Response:
    body = progress_body(run)
    return await run.post(body, run.sign(body, key=attempt_key(run.spec.job_id, 2)))


async def post_with_key_of_another_job(run: FakeRun) -> httpx.Response:
    body = progress_body(run)
    return await run.post(body, run.sign(body, key=attempt_key("another", 1)))


async def post_with_key_of_another_service(run: FakeRun) -> httpx.Response:
    body = progress_body(run)
    return await run.post(body, run.sign(body, key=attempt_key(run.spec.job_id, 1, "x" * 48)))


async def post_too_old(run: FakeRun) -> httpx.Response:
    body = progress_body(run)
    return await run.post(body, run.sign(body, age_seconds=303))


async def post_too_new(run: FakeRun) -> httpx.Response:
    body = progress_body(run)
    return await run.post(body, run.sign(body, age_seconds=-303))


async def post_too_large(run: FakeRun) -> httpx.Response:
    body = progress_body(run, message="x" * 65_536)
    return await run.post(body)


async def post_too_large_in_chunks(run: FakeRun) -> httpx.Response:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(70):
            yield b" " * 1_024

    return await run._client.post(run.url, content=chunks(), headers=run.sign(b""))


async def post_as_text(run: FakeRun) -> httpx.Response:
    body = progress_body(run)
    return await run.post(body, run.sign(body) | {"content-type": "text/plain"})


async def post_without_content_type(run: FakeRun) -> httpx.Response:
    body = progress_body(run)
    return await run.post(body, omit_header(run.sign(body), "content-type"))


def post_progress_with(**changes: object) -> Attack:
    async def attack(run: FakeRun) -> httpx.Response:
        return await run.post(progress_body(run, **changes))

    return attack


def post_event(kind: str, **changes: object) -> Attack:
    async def attack(run: FakeRun) -> httpx.Response:
        return await run.post(run.body(kind, **{"step": run.step + 1, **changes}))

    return attack


def post_with_bytes_replaced(old: bytes, new: bytes) -> Attack:
    async def attack(run: FakeRun) -> httpx.Response:
        return await run.post(progress_body(run).replace(old, new))

    return attack


async def post_for_another_export(run: FakeRun) -> httpx.Response:
    return await run.post(progress_body(run, job_id="another"))


async def post_for_unknown_job(run: FakeRun) -> httpx.Response:
    elsewhere = run.at_step(run.step)
    elsewhere.url = "/api/callbacks/unknown"
    body = progress_body(run, job_id="unknown")
    return await elsewhere.post(body, run.sign(body, key=attempt_key("unknown", 1)))


async def post_for_later_attempt(run: FakeRun) -> httpx.Response:
    body = progress_body(run, attempt=2, step=1)
    return await run.post(body, run.sign(body, key=attempt_key(run.spec.job_id, 2)))


@pytest.mark.parametrize(
    ("attack", "status"),
    [
        pytest.param(post_unsigned, 401, id="unsigned"),
        pytest.param(post_without_timestamp, 401, id="without a timestamp"),
        pytest.param(post_with_wrong_key, 401, id="signed with an invented key"),
        pytest.param(post_altered, 401, id="altered after it was signed"),
        pytest.param(post_with_key_of_another_attempt, 401, id="signed with another attempt's key"),
        pytest.param(post_with_key_of_another_job, 401, id="signed with another job's key"),
        pytest.param(post_with_key_of_another_service, 401, id="signed under another master secret"),
        pytest.param(post_too_old, 401, id="older than five minutes"),
        pytest.param(post_too_new, 401, id="from more than five minutes ahead"),
        pytest.param(post_too_large, 413, id="too large"),
        pytest.param(post_too_large_in_chunks, 413, id="too large, of undeclared length"),
        pytest.param(post_as_text, 415, id="not JSON by its type"),
        pytest.param(post_without_content_type, 415, id="of no type"),
        pytest.param(post_progress_with(progress="much"), 422, id="progress that is no number"),
        pytest.param(post_progress_with(progress=101), 422, id="more than all"),
        pytest.param(post_progress_with(progress=-1), 422, id="less than nothing"),
        pytest.param(post_with_bytes_replaced(b'"progress":50', b'"progress":NaN'), 422, id="NaN"),
        pytest.param(post_with_bytes_replaced(b'"progress":50', b'"progress":1e999'), 422, id="infinite"),
        pytest.param(post_progress_with(phase="sleeping"), 422, id="an unknown phase"),
        pytest.param(post_progress_with(step=0), 422, id="step 0"),
        pytest.param(post_progress_with(message="\0"), 422, id="a NUL"),
        pytest.param(post_event("export.cancelled"), 422, id="a cancel, which is not the run's to tell"),
        pytest.param(post_event("export.completed"), 422, id="completed without output"),
        pytest.param(post_event("export.failed"), 422, id="failed without an error"),
        pytest.param(post_for_another_export, 422, id="about another export"),
        pytest.param(post_for_unknown_job, 404, id="about an unknown export"),
        pytest.param(post_for_later_attempt, 410, id="about an attempt that is yet to come"),
    ],
)
async def test_an_invalid_callback_is_rejected_and_changes_nothing(
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


async def test_a_report_of_a_later_release_counts_as_far_as_it_is_known(run: FakeRun) -> None:
    assert (await post_progress_with(later={"a": 1})(run)).status_code == 200


@pytest.mark.parametrize("age_seconds", [-298, 298])
async def test_a_clock_may_be_off_by_almost_five_minutes(run: FakeRun, age_seconds: int) -> None:
    body = progress_body(run)
    assert (await run.post(body, run.sign(body, age_seconds=age_seconds))).status_code == 200


anything = st.one_of(
    st.binary(max_size=300),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("data"), inner),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
    st.dictionaries(
        st.sampled_from(["attempt", "step", "job_id"]), st.integers() | st.text() | st.floats(), max_size=3
    ).map(lambda data: json.dumps({"data": data}).encode()),
)
header_text = st.text(
    st.characters(min_codepoint=1, max_codepoint=255, exclude_characters="\r\n"), max_size=40
)


@hypothesis.settings(max_examples=300, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(
    body=anything,
    extra_headers=st.dictionaries(
        st.sampled_from(
            ["webhook-id", "webhook-timestamp", "webhook-signature", "content-length", "content-type"]
        ),
        header_text,
    ),
    job_id=st.text(st.characters(codec="utf-8", exclude_characters="/?#"), min_size=1, max_size=90),
)
@hypothesis.example(
    body=b'{"data":{"attempt":%s}}' % (b"9" * 5_000),
    extra_headers={"webhook-id": "a", "webhook-timestamp": "1", "webhook-signature": "v1,"},
    job_id="job",
)
@hypothesis.example(
    body=b'{"data":' + b"[" * 30_000, extra_headers={"webhook-signature": "v1,"}, job_id="job"
)
@hypothesis.example(
    body=b"{}", extra_headers={"content-length": "\xb2", "webhook-signature": ""}, job_id="job"
)
@hypothesis.example(body=b"{}", extra_headers={"content-length": "9" * 5_000}, job_id="job")
async def test_no_unsigned_bytes_crash_the_route(
    app: AppHarness, body: bytes, extra_headers: dict[str, str], job_id: str
) -> None:
    headers = {"host": "127.0.0.1:8000", "content-type": "application/json", **extra_headers}
    request = app.client.build_request("POST", f"/api/callbacks/{quote(job_id)}", content=body)
    request.headers = httpx.Headers(
        [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    )
    answer = await app.client.send(request)
    assert answer.status_code in (401, 404, 405, 413, 415, 422)


@hypothesis.settings(max_examples=150, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(
    fields=st.dictionaries(
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
async def test_no_signed_body_crashes_the_route(
    app: AppHarness, fields: dict[str, Any], kind: str, ending: dict[str, Any]
) -> None:
    usual = {"job_id": "job", "attempt": 1, "step": 1, "call_id": "c", "phase": "processing", "progress": 1}
    extra = {"export.failed": {"error": ending}, "export.completed": {"output": ending}}.get(kind, {})
    report = {**usual, "message": "", **fields, **extra}
    moment = "2026-01-01T00:00:00Z"
    body = json.dumps({"type": kind, "timestamp": moment, "data": report}).encode()
    attempt = report["attempt"] if isinstance(report["attempt"], int) else 1
    headers = signature_headers(attempt_key("job", attempt), "msg_1", int(time.time()), body)
    answer = await app.client.post("/api/callbacks/job", content=body, headers=headers | JSON)
    assert answer.status_code in (401, 404, 422)


async def test_a_very_long_path_is_not_cached(app: AppHarness) -> None:
    body = b'{"data":{"attempt":1}}'
    headers = JSON | {"webhook-id": "a", "webhook-timestamp": "1", "webhook-signature": "v1,"}
    answer = await app.client.post(f"/api/callbacks/{'x' * 5_000}", content=body, headers=headers)
    assert answer.status_code == 404
