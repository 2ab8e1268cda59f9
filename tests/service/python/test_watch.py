"""Watching an export over broken connections, proxies and restarts of the service."""

import json

import msgspec
import pytest

from framehook import Client, ClientError, RequestRejected, Unreachable
from tests.support.live_server import (
    PROBLEM,
    STREAM,
    ScriptedResponse,
    export_state,
    fast_client,
    serve_script,
    sse_response,
)


def test_states_are_not_repeated_after_reconnecting() -> None:
    with serve_script(
        sse_response(export_state(1), export_state(2)),
        sse_response(export_state(2), export_state(3)),
        sse_response(export_state(5, "complete")),
    ) as script:
        with fast_client(script) as client:
            seen = [export.sequence for export in client.watch("job-1")]
        last_ids = [request.headers.get("last-event-id") for request in script.requests]
    assert (seen, last_ids) == ([1, 2, 3, 5], [None, "2", "3"])


def test_an_incomplete_event_arrives_complete_after_reconnecting() -> None:
    whole = sse_response(export_state(2)).body
    cut = ScriptedResponse(
        headers={**STREAM, "Content-Length": "9999"}, body=sse_response(export_state(1)).body + whole[:-30]
    )
    reasons: list[str] = []
    with (
        serve_script(cut, sse_response(export_state(2), export_state(3, "error"))) as script,
        fast_client(script) as client,
    ):
        seen = [export.sequence for export in client.watch("job-1", reasons.append)]
    assert (seen, len(reasons)) == ([1, 2, 3], 1)


def test_a_stream_without_newer_states_yields_the_final_job() -> None:
    job = ScriptedResponse(body=msgspec.json.encode(export_state(1, "complete")))
    with (
        serve_script(sse_response(export_state(1)), ScriptedResponse(204), job) as script,
        fast_client(script) as client,
    ):
        seen = [(export.sequence, export.status) for export in client.watch("job-1")]
    assert seen == [(1, "processing"), (1, "complete")]


def test_delays_between_connections_follow_what_the_service_requests() -> None:
    slept: list[float] = []
    busy = ScriptedResponse(503, {"Retry-After": "7"})
    answers = (
        sse_response(export_state(1), retry=2000),
        ScriptedResponse(None),
        busy,
        sse_response(export_state(2)),
        sse_response(export_state(3, "complete")),
    )
    with serve_script(*answers) as script, fast_client(script, slept) as client:
        list(client.watch("job-1"))
    assert slept == [2.0, 4.0, 8.0, 0.5 * 4]


def ending_stream(name: str, reason: str, retry: int) -> ScriptedResponse:
    """Create a stream that ends with an event that gives the reason."""
    body = f'retry: {retry}\nevent: {name}\ndata: {{"reason":"{reason}"}}\n\n'
    return ScriptedResponse(headers=STREAM, body=body.encode())


def test_a_service_without_room_for_more_streams_is_asked_again_after_the_requested_delay() -> None:
    slept: list[float] = []
    full = ending_stream("stream.refused", "too_many_streams", 45_000)
    with (
        serve_script(full, sse_response(export_state(3, "complete"))) as script,
        fast_client(script, slept) as client,
    ):
        assert [export.sequence for export in client.watch("job-1")] == [3]
    assert slept == [45.0]


def test_an_expired_token_is_reported_and_not_tried_again() -> None:
    stream = ScriptedResponse(
        headers=STREAM,
        body=sse_response(export_state(1)).body
        + ending_stream("stream.expired", "token_expired", 2_000).body,
    )
    with (
        serve_script(stream) as script,
        fast_client(script) as client,
        pytest.raises(RequestRejected) as rejection,
    ):
        list(client.watch("job-1"))
    assert (rejection.value.status, len(script.requests)) == (401, 1)
    assert "the token has expired; the export is still running" in str(rejection.value)
    assert "FRAMEHOOK_TOKEN" in str(rejection.value)


def test_a_renewable_token_is_renewed_and_the_watch_continues() -> None:
    tokens = iter(["first", "second"])
    expired = ending_stream("stream.expired", "token_expired", 2_000)
    with serve_script(expired, sse_response(export_state(3, "complete"))) as script:
        client = Client(script.url, lambda: next(tokens), sleep=lambda _seconds: None)
        with client:
            assert [export.sequence for export in client.watch("job-1")] == [3]
    assert [request.headers["authorization"] for request in script.requests] == [
        "Bearer first",
        "Bearer second",
    ]


def test_a_service_that_stays_unreachable_ends_the_watch() -> None:
    slept: list[float] = []
    with (
        serve_script(ScriptedResponse(502)) as script,
        fast_client(script, slept) as client,
        pytest.raises(Unreachable, match="502"),
    ):
        list(client.watch("job-1"))
    assert 600 < sum(slept) < 700


def test_a_response_of_another_server_is_rejected() -> None:
    page = ScriptedResponse(headers={"Content-Type": "text/html"}, body=b"<html>")
    with (
        serve_script(page) as script,
        fast_client(script) as client,
        pytest.raises(ClientError, match="not a Framehook service"),
    ):
        list(client.watch("job-1"))


def test_watching_an_unknown_export_fails_at_once() -> None:
    problem = json.dumps({"detail": "The export does not exist.", "status": 404}).encode()
    with (
        serve_script(ScriptedResponse(404, PROBLEM, problem)) as script,
        fast_client(script) as client,
        pytest.raises(RequestRejected, match=r"^The export does not exist\.$"),
    ):
        list(client.watch("job-1"))
