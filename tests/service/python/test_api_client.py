"""The clients against servers with scripted responses: retries, errors, secrets."""

import asyncio
import hashlib
import inspect
import json
import logging
import pickle
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import msgspec
import pytest

import framehook
import service.api.routes  # noqa: F401 - it loads every problem
from framehook import AsyncClient, Client, FramehookError, Problem, Unreachable
from framehook.http_client import RETRYABLE_STATUSES
from service.problems import Problem as ServiceProblem
from tests.service.python.any_client import ClientFactory
from tests.support.live_server import FRAMING, PROBLEM, ScriptedResponse, export_state, serve_script

CONFIG = {**FRAMING, "input_key": "uploads/1/match.mp4"}
JOB = ScriptedResponse(202, body=msgspec.json.encode(export_state(1, "pending")))


def page_response(*sequences: int, cursor: str | None = None) -> ScriptedResponse:
    exports = [export_state(sequence) for sequence in sequences]
    return ScriptedResponse(body=msgspec.json.encode({"exports": exports, "next_cursor": cursor}))


async def test_a_list_loads_the_pages_that_are_read(clients: ClientFactory) -> None:
    with serve_script(page_response(9, 8, cursor="c 1"), page_response(7)) as script:
        listed = clients.open(script.url).items("list", status=["error", "complete"], project_id=7)
        seen = [(await anext(listed)).sequence for _ in range(2)]
        first_paths = [request.path for request in script.requests]
        seen += [export.sequence async for export in listed]
    assert seen == [9, 8, 7]
    assert first_paths == ["/api/exports?status=error&status=complete&project_id=7&limit=200"]
    assert script.requests[-1].path == f"{first_paths[0]}&cursor=c+1"


async def test_an_export_whose_response_is_lost_is_created_once(clients: ClientFactory) -> None:
    with serve_script(ScriptedResponse(None), ScriptedResponse(503), JOB) as script:
        job = await clients.open(script.url).call("create_export", "framing", CONFIG, project_id=0)
    keys = {request.headers["idempotency-key"] for request in script.requests}
    assert (len(script.requests), len(keys), len({request.body for request in script.requests})) == (3, 1, 1)
    assert (job.sequence, json.loads(script.requests[0].body)) == (
        1,
        {"type": "framing", "config": CONFIG, "project_id": 0},
    )


RETRIED = {
    "request_timeout": True,
    "quota_exceeded": True,
    "rate_limited": True,
    "budget_exceeded": True,  # its Retry-After is short only just before the next day
    "too_many_probes": True,
    "unavailable": True,
    "too_many_connections": True,
    "still_finalizing": True,
    "storage_unavailable": True,
    "storage_misconfigured": False,
}
"""Every problem with a status that clients repeat: may another try help?"""


async def test_what_another_try_may_mend_is_repeated_and_nothing_else(clients: ClientFactory) -> None:
    statuses = {
        problem.code: problem.status
        for problem in list_problems(ServiceProblem)
        if problem.status in RETRYABLE_STATUSES
    }
    assert set(statuses) == set(RETRIED)
    for code, status in statuses.items():
        body = json.dumps({"type": f"urn:framehook:problem:{code}", "detail": "No."}).encode()
        problem = ScriptedResponse(status, PROBLEM | {"Retry-After": "2"}, body)
        with serve_script(problem, JOB) as script:
            client = clients.open(script.url)
            if RETRIED[code]:
                await client.call("get", "job-1")
            else:
                with pytest.raises(Problem, match="No"):
                    await client.call("get", "job-1")
        assert len(script.requests) == 1 + RETRIED[code], code


def list_problems(kind: type[ServiceProblem]) -> Iterator[type[ServiceProblem]]:
    """Yield every reason of the service to reject a request."""
    for problem in kind.__subclasses__():
        yield problem
        yield from list_problems(problem)


async def test_what_must_not_happen_twice_is_sent_once(clients: ClientFactory) -> None:
    with serve_script(ScriptedResponse(None)) as script:
        client = clients.open(script.url)
        for name, *arguments in (
            ("retry", "job-1"),
            ("webhooks.create", "https://example.org"),
            ("webhooks.rotate_secret", "id"),
        ):
            with pytest.raises(Unreachable):
                await client.call(name, *arguments)
    assert len(script.requests) == 3


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_a_limit_is_waited_for_as_the_service_says(clients: ClientFactory, form: str) -> None:
    value = "7" if form == "seconds" else formatdate(2**33, usegmt=True)
    busy = ScriptedResponse(429, {**PROBLEM, "Retry-After": value}, b'{"detail": "Too many.", "type": "x"}')
    with serve_script(busy, JOB) as script:
        client = clients.open(script.url)
        if form == "seconds":
            assert (await client.call("create_export", "framing", CONFIG)).sequence == 1
            assert clients.slept == [7.0]
            return
        with pytest.raises(framehook.QuotaExceeded, match="Too many") as problem:
            await client.call("create_export", "framing", CONFIG)
    assert problem.value.retry_after_seconds is not None
    assert (problem.value.retry_after_seconds > 10**6, clients.slept) == (True, [])


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "Problem"),
        (401, "Unauthenticated"),
        (403, "Forbidden"),
        (404, "NotFound"),
        (409, "Conflict"),
        (410, "Gone"),
        (413, "TooLarge"),
        (415, "UnsupportedType"),
        (422, "Invalid"),
        (429, "QuotaExceeded"),
        (500, "Unavailable"),
        (507, "Unavailable"),
    ],
)
async def test_each_kind_of_problem_is_an_exception_of_its_own(
    clients: ClientFactory, status: int, kind: str
) -> None:
    errors = [{"loc": ["config", "fps"], "msg": "too low"}, {"loc": ["config", 1], "msg": "odd"}]
    body = {"type": "urn:framehook:problem:a_code", "detail": "config.fps: too low", "errors": errors}
    headers = {**PROBLEM, "X-Request-ID": "request-1"}
    with (
        serve_script(ScriptedResponse(status, headers, json.dumps(body).encode())) as script,
        pytest.raises(Problem) as raised,
    ):
        await clients.open(script.url, retries=0).call("get", "job-1")
    problem = pickle.loads(pickle.dumps(raised.value))  # noqa: S301 - as a process pool does
    assert (type(problem).__name__, problem.status, problem.code) == (kind, status, "a_code")
    assert problem.request_id == "request-1"
    assert str(problem) == "config.fps: too low\n  config.1: odd"
    assert [(error.name, error.msg) for error in problem.errors] == [
        ("config.fps", "too low"),
        ("config.1", "odd"),
    ]


@pytest.mark.parametrize(
    ("status", "headers", "sentence"),
    [
        (403, {}, "the service answered 403 Forbidden"),
        (404, {}, "the service answered 404 Not Found; check that its URL is right"),
        (
            307,
            {"Location": "https://x.example"},
            "the service answered 307 Temporary Redirect; check that its URL is right",
        ),
    ],
)
async def test_a_response_of_another_server_is_described(
    clients: ClientFactory, status: int, headers: dict[str, str], sentence: str
) -> None:
    with (
        serve_script(ScriptedResponse(status, headers, b"<html>")) as script,
        pytest.raises(Problem) as raised,
    ):
        await clients.open(script.url).call("get", "job-1")
    assert (str(raised.value), raised.value.code, raised.value.request_id) == (sentence, "", None)


async def test_the_token_is_sent_to_the_service_only(clients: ClientFactory, tmp_path: Path) -> None:
    source = tmp_path / "match.mp4"
    source.write_bytes(b"video")
    with serve_script(ScriptedResponse(200)) as storage:
        target = {
            "key": "k",
            "url": storage.url + "/bucket?signed",
            "method": "PUT",
            "headers": {"X-Kind": "v"},
        }
        answer = ScriptedResponse(201, body=json.dumps(target | {"expires_at": "later"}).encode())
        with serve_script(answer) as service:
            assert await clients.open(service.url, "a-token").call("upload", source) == "k"
    assert service.requests[0].headers["authorization"] == "Bearer a-token"
    assert "authorization" not in storage.requests[0].headers
    assert (storage.requests[0].headers["x-kind"], storage.requests[0].body) == ("v", b"video")


async def test_a_redirect_to_a_bucket_carries_no_token_and_leaves_no_trace_in_logs(
    clients: ClientFactory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    content = b"the exported video"
    checksum = "sha256:" + hashlib.sha256(content).hexdigest()
    output: dict[str, Any] = {
        "size": len(content),
        "checksum": checksum,
        "duration": 1,
        "width": 2,
        "height": 2,
    }
    job = msgspec.convert(
        msgspec.to_builtins(export_state(1, "complete")) | {"output": output | {"url": ""}}, framehook.Export
    )
    with serve_script(ScriptedResponse(body=content)) as bucket:
        redirect = ScriptedResponse(307, {"Location": f"{bucket.url}/film?X-Amz-Signature=sign3d"})
        with serve_script(redirect) as service:
            client = clients.open(service.url, "a-secret-token")
            path = await client.call("download", job, tmp_path / "out.mp4")
    assert path.read_bytes() == content
    assert service.requests[0].headers["authorization"] == "Bearer a-secret-token"
    assert "authorization" not in bucket.requests[0].headers
    assert "sign3d" not in caplog.text
    assert "a-secret-token" not in caplog.text + repr(client.client) + repr(vars(client.client))


async def test_a_service_that_does_not_listen_is_named(clients: ClientFactory) -> None:
    client = clients.open("http://127.0.0.1:9", retries=1)
    with pytest.raises(Unreachable, match=r"^http://127\.0\.0\.1:9 can't be reached: ") as raised:
        await client.call("retry", "job-1")
    assert raised.value.is_refused
    assert len(clients.slept) == 1  # what has not arrived can safely be sent again


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8000",
        "ftp://host",
        "http://",
        "http://me:secret@host",
        "http://host:port",
        "http://h?x=1",
    ],
)
def test_an_invalid_url_of_the_service_is_rejected(url: str) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(FramehookError, match="must look like") as error:
            kind(url)
        assert "secret" not in str(error.value)


def test_an_invalid_token_is_rejected_without_being_quoted() -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(FramehookError) as error:
            kind("http://127.0.0.1", "sec\nret")
        assert "sec" not in str(error.value)


async def test_the_environment_gives_url_and_token(
    clients: ClientFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_script(JOB) as script:
        monkeypatch.setenv("FRAMEHOOK_URL", script.url + "/")
        monkeypatch.setenv("FRAMEHOOK_TOKEN", "from-the-environment")
        await clients.open(None, None).call("get", "job-1")
        await clients.open(None, "").call("get", "job-1")
    assert [request.headers.get("authorization") for request in script.requests] == [
        "Bearer from-the-environment",
        None,
    ]


async def test_an_async_client_awaits_its_token_and_a_blocking_one_refuses_to() -> None:
    async def renew() -> str:
        return "fresh"

    async def wait_and_renew() -> str:
        await asyncio.sleep(0)
        return "fresh"

    with serve_script(JOB) as script:
        async with AsyncClient(script.url, wait_and_renew) as client:
            await client.get("job-1")
        with (
            Client(script.url, wait_and_renew) as blocking,
            pytest.raises(TypeError, match="use AsyncClient"),
        ):
            blocking.get("job-1")
    assert [request.headers["authorization"] for request in script.requests] == ["Bearer fresh"]


@pytest.mark.parametrize(
    ("blocking", "asynchronous"),
    [
        (Client, AsyncClient),
        (framehook.Webhooks, framehook.AsyncWebhooks),
        (framehook.Batches, framehook.AsyncBatches),
    ],
    ids=["client", "webhooks", "batches"],
)
def test_both_clients_have_the_same_methods(blocking: type, asynchronous: type) -> None:
    def signatures(kind: type) -> dict[str, tuple[list[inspect.Parameter], str]]:
        methods = inspect.getmembers(kind, inspect.isfunction)
        return {
            name: (
                list(inspect.signature(method).parameters.values()),
                str(inspect.signature(method).return_annotation)
                .replace("AsyncGenerator", "Generator")
                .replace(", None, None]", ", None]"),
            )
            for name, method in methods
            if not name.startswith("_")
        }

    assert signatures(blocking) == signatures(asynchronous)
