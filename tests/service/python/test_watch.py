"""Watching an export over broken connections, proxies and restarts of the service."""

import json

import msgspec
import pytest

from framehook import Export, FramehookError, NotFound, Queue, Unauthenticated, Unreachable
from tests.service.python.any_client import AnyClient, ClientFactory
from tests.support.live_server import (
    PROBLEM,
    STREAM,
    Script,
    ScriptedResponse,
    export_state,
    serve_script,
    sse_response,
)


def state_response(export: Export) -> ScriptedResponse:
    """Return the answer to a poll."""
    return ScriptedResponse(body=msgspec.json.encode(export))


def ending_stream(name: str, reason: str, retry: int) -> ScriptedResponse:
    """Create a stream that ends with an event that gives the reason."""
    body = f'retry: {retry}\nevent: {name}\ndata: {{"reason":"{reason}"}}\n\n'
    return ScriptedResponse(headers=STREAM, body=body.encode())


async def watch(client: AnyClient, **options: object) -> list[tuple[int, str]]:
    return [(export.sequence, export.status) async for export in client.items("watch", "job-1", **options)]


def stream_requests(script: Script) -> list[str | None]:
    """Return the `Last-Event-ID` of each stream that was opened."""
    return [request.headers.get("last-event-id") for request in script.requests if "/events" in request.path]


async def test_states_are_not_repeated_after_reconnecting(clients: ClientFactory) -> None:
    with serve_script(
        sse_response(export_state(1), export_state(2)),
        sse_response(export_state(2), export_state(3)),
        sse_response(export_state(5, "complete")),
    ) as script:
        seen = await watch(clients.open(script.url))
    assert [sequence for sequence, _ in seen] == [1, 2, 3, 5]
    assert stream_requests(script) == [None, "2", "3"]


async def test_a_waiting_export_is_yielded_again_when_its_place_changes(clients: ClientFactory) -> None:
    places = (Queue(3, 40.0, "2 local workers"), Queue(1, None, "Modal can't be reached"))
    first = export_state(1, "pending", queue=places[0])
    moved, late = export_state(1, "pending", queue=places[1]), export_state(0, "pending", queue=places[0])
    frames = sse_response(first).body
    for export in (moved, late):
        frames += b"event: export.queue\ndata: %s\n\n" % msgspec.json.encode(export)
    with serve_script(
        ScriptedResponse(headers=STREAM, body=frames), sse_response(moved, export_state(2, "complete"))
    ) as script:
        client = clients.open(script.url)
        seen = [(export.sequence, export.queue) async for export in client.items("watch", "job-1")]
    assert seen == [(1, places[0]), (1, places[1]), (2, None)]
    assert stream_requests(script) == [None, "1"]


async def test_an_incomplete_event_arrives_complete_after_reconnecting(clients: ClientFactory) -> None:
    whole = sse_response(export_state(2)).body
    cut = ScriptedResponse(
        headers={**STREAM, "Content-Length": "9999"}, body=sse_response(export_state(1)).body + whole[:-30]
    )
    reasons: list[str] = []
    with serve_script(cut, sse_response(export_state(2), export_state(3, "error"))) as script:
        seen = await watch(clients.open(script.url), on_disconnect=reasons.append)
    assert ([sequence for sequence, _ in seen], reasons) == ([1, 2, 3], ["the connection broke"])


async def test_a_stream_without_newer_states_yields_the_final_job(clients: ClientFactory) -> None:
    with serve_script(
        sse_response(export_state(1)), ScriptedResponse(204), state_response(export_state(1, "complete"))
    ) as script:
        seen = await watch(clients.open(script.url))
    assert seen == [(1, "processing"), (1, "complete")]


async def test_delays_between_connections_follow_what_the_service_requests(clients: ClientFactory) -> None:
    busy = ScriptedResponse(503, {"Retry-After": "7"})
    with serve_script(
        sse_response(export_state(1), retry=2000),
        ScriptedResponse(None),  # the stream, and then the poll
        ScriptedResponse(None),
        busy,
        busy,
        sse_response(export_state(2)),
        sse_response(export_state(3, "complete")),
    ) as script:
        await watch(clients.open(script.url))
    assert clients.slept == [2.0, 4.0, 8.0, 0.5 * 4]


async def test_a_service_without_room_for_streams_is_polled_at_the_requested_pace(
    clients: ClientFactory,
) -> None:
    full = ending_stream("stream.refused", "too_many_streams", 45_000)
    with serve_script(
        full, state_response(export_state(2)), full, state_response(export_state(3, "complete"))
    ) as script:
        seen = await watch(clients.open(script.url))
    assert ([sequence for sequence, _ in seen], clients.slept) == ([2, 3], [45.0])


async def test_streams_that_carry_nothing_are_replaced_by_polling(clients: ClientFactory) -> None:
    """A proxy that holds events back, or answers with a page, must not hide the end."""
    mute = ScriptedResponse(headers=STREAM)
    page = ScriptedResponse(headers={"Content-Type": "text/html"}, body=b"<html>")
    polls = [state_response(export_state(sequence)) for sequence in (3, 4)]
    with serve_script(
        mute,
        state_response(export_state(1)),
        page,
        state_response(export_state(2)),
        *polls,
        state_response(export_state(5, "complete")),
    ) as script:
        seen = await watch(clients.open(script.url))
    assert [sequence for sequence, _ in seen] == [1, 2, 3, 4, 5]
    assert stream_requests(script) == [None, None]
    assert clients.slept[-2:] == [2.0, 2.0]


async def test_an_expired_token_is_reported_and_not_tried_again(clients: ClientFactory) -> None:
    expired = ending_stream("stream.expired", "token_expired", 2_000).body
    stream = ScriptedResponse(headers=STREAM, body=sse_response(export_state(1)).body + expired)
    with (
        serve_script(stream) as script,
        pytest.raises(Unauthenticated, match=r"the token has expired; .* still running") as problem,
    ):
        await watch(clients.open(script.url, "a-secret-token"))
    assert (problem.value.status, len(script.requests)) == (401, 1)
    assert "a-secret-token" not in repr(problem.value)


async def test_a_renewable_token_is_renewed_and_the_watch_continues(clients: ClientFactory) -> None:
    tokens = iter(["first", "second", "third"])
    problem = json.dumps({"detail": "Sign in.", "status": 401}).encode()
    expired = ending_stream("stream.expired", "token_expired", 2_000)
    with serve_script(
        sse_response(export_state(1)),
        ScriptedResponse(401, PROBLEM, problem),
        state_response(export_state(2)),
        expired,
        state_response(export_state(3)),
        sse_response(export_state(4, "complete")),
    ) as script:
        seen = await watch(clients.open(script.url, lambda: next(tokens)))
    assert [sequence for sequence, _ in seen] == [1, 2, 3, 4]
    sent = [request.headers["authorization"].removeprefix("Bearer ") for request in script.requests]
    assert sent == ["first", "first", "second", "second", "third", "third"]


async def test_a_token_that_stays_invalid_is_asked_for_once_more(clients: ClientFactory) -> None:
    problem = json.dumps({"detail": "Sign in.", "status": 401}).encode()
    calls: list[str] = []

    def renew() -> str:
        calls.append("")
        return "bad"

    with serve_script(ScriptedResponse(401, PROBLEM, problem)) as script:
        client = clients.open(script.url, renew)
        with pytest.raises(Unauthenticated):
            await client.call("get", "job-1")
        assert (len(calls), len(script.requests)) == (2, 2)
        with pytest.raises(Unauthenticated):
            await watch(client)
    assert len(script.requests) < 8


async def test_a_service_that_stays_unreachable_ends_the_watch(clients: ClientFactory) -> None:
    with serve_script(ScriptedResponse(502)) as script, pytest.raises(Unreachable, match="502"):
        await watch(clients.open(script.url))
    assert 600 < sum(clients.slept) < 700


async def test_a_response_of_another_server_is_rejected(clients: ClientFactory) -> None:
    page = ScriptedResponse(headers={"Content-Type": "text/html"}, body=b"<html>")
    with serve_script(page) as script, pytest.raises(FramehookError, match="not a Framehook service"):
        await watch(clients.open(script.url))


async def test_watching_an_unknown_export_fails_at_once(clients: ClientFactory) -> None:
    problem = {"type": "urn:framehook:problem:not_found", "detail": "The export does not exist."}
    with (
        serve_script(ScriptedResponse(404, PROBLEM, json.dumps(problem).encode())) as script,
        pytest.raises(NotFound, match=r"^The export does not exist\.$") as raised,
    ):
        await watch(clients.open(script.url))
    assert (raised.value.code, len(script.requests)) == ("not_found", 1)


async def test_a_wait_ends_at_its_deadline_and_polls_shortly_before(clients: ClientFactory) -> None:
    """A stream may be silent for longer than is left."""
    with serve_script(state_response(export_state(1))) as script, pytest.raises(TimeoutError, match="still"):
        await clients.open(script.url).call("wait", "job-1", timeout_seconds=0.2)
    assert stream_requests(script) == []
