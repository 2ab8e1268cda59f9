"""Watching through whatever a network, a proxy or a restart does to a stream."""

import json

import msgspec
import pytest

from service.client import Client, ClientError, RequestRejected, Unreachable
from tests.support.live_server import (
    PROBLEM,
    STREAM,
    ScriptedResponse,
    export_state,
    fast_client,
    serve_script,
    sse_response,
)


def test_states_that_were_seen_are_not_seen_again() -> None:
    with serve_script(
        sse_response(export_state(1), export_state(2)),
        sse_response(export_state(2), export_state(3)),
        sse_response(export_state(5, "complete")),
    ) as script:
        with fast_client(script) as client:
            seen = [export.sequence for export in client.watch("job-1")]
        last_ids = [asked.headers.get("last-event-id") for asked in script.requests]
    assert (seen, last_ids) == ([1, 2, 3, 5], [None, "2", "3"])


def test_an_event_that_was_cut_off_comes_whole_after_reconnecting() -> None:
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


def test_a_stream_with_nothing_more_to_say_ends_with_the_job_itself() -> None:
    job = ScriptedResponse(body=msgspec.json.encode(export_state(1, "complete")))
    with (
        serve_script(sse_response(export_state(1)), ScriptedResponse(204), job) as script,
        fast_client(script) as client,
    ):
        seen = [(export.sequence, export.status) for export in client.watch("job-1")]
    assert seen == [(1, "processing"), (1, "complete")]


def test_pauses_between_connections_follow_what_the_service_asks_for() -> None:
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


def ended(name: str, reason: str, retry: int) -> ScriptedResponse:
    """A stream that says why it ends."""
    body = f'retry: {retry}\nevent: {name}\ndata: {{"reason":"{reason}"}}\n\n'
    return ScriptedResponse(headers=STREAM, body=body.encode())


def test_a_service_without_room_for_more_readers_is_asked_again_when_it_says() -> None:
    slept: list[float] = []
    full = ended("stream.refused", "too_many_streams", 45_000)
    with (
        serve_script(full, sse_response(export_state(3, "complete"))) as script,
        fast_client(script, slept) as client,
    ):
        assert [export.sequence for export in client.watch("job-1")] == [3]
    assert slept == [45.0]


def test_a_token_that_ends_is_named_and_not_tried_again() -> None:
    stream = ScriptedResponse(
        headers=STREAM,
        body=sse_response(export_state(1)).body + ended("stream.expired", "token_expired", 2_000).body,
    )
    with (
        serve_script(stream) as script,
        fast_client(script) as client,
        pytest.raises(RequestRejected) as refused,
    ):
        list(client.watch("job-1"))
    assert (refused.value.status, len(script.requests)) == (401, 1)
    assert "the token has expired; the export is still running" in str(refused.value)
    assert "FRAMEHOOK_TOKEN" in str(refused.value)


def test_a_token_that_can_be_had_anew_is_and_the_watching_goes_on() -> None:
    tokens = iter(["first", "second"])
    expired = ended("stream.expired", "token_expired", 2_000)
    with serve_script(expired, sse_response(export_state(3, "complete"))) as script:
        client = Client(script.url, lambda: next(tokens), sleep=lambda _seconds: None)
        with client:
            assert [export.sequence for export in client.watch("job-1")] == [3]
    assert [asked.headers["authorization"] for asked in script.requests] == ["Bearer first", "Bearer second"]


def test_a_service_that_stays_away_is_given_up_on() -> None:
    slept: list[float] = []
    with (
        serve_script(ScriptedResponse(502)) as script,
        fast_client(script, slept) as client,
        pytest.raises(Unreachable, match="502"),
    ):
        list(client.watch("job-1"))
    assert 600 < sum(slept) < 700


def test_a_stream_of_something_else_is_not_understood() -> None:
    page = ScriptedResponse(headers={"Content-Type": "text/html"}, body=b"<html>")
    with (
        serve_script(page) as script,
        fast_client(script) as client,
        pytest.raises(ClientError, match="not a Framehook service"),
    ):
        list(client.watch("job-1"))


def test_a_watch_of_what_is_not_there_is_refused_at_once() -> None:
    problem = json.dumps({"detail": "The export does not exist.", "status": 404}).encode()
    with (
        serve_script(ScriptedResponse(404, PROBLEM, problem)) as script,
        fast_client(script) as client,
        pytest.raises(RequestRejected, match=r"^The export does not exist\.$"),
    ):
        list(client.watch("job-1"))
