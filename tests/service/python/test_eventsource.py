"""The parser of event streams, and the backoff between connections."""

from collections.abc import Iterable

import hypothesis.strategies as st
import pytest
from hypothesis import given

from framehook.streams.eventsource import (
    MAX_DELAY_SECONDS,
    MAX_EVENT_CHARACTERS,
    Event,
    EventTooLarge,
    Parser,
    ReconnectBackoff,
)

STREAMS: dict[str, tuple[bytes, list[Event]]] = {
    "an event": (b"id: 1\nevent: a\ndata: x\n\n", [Event("1", "a", "x")]),
    "several lines": (b"data: x\ndata\ndata:  y\n\n", [Event("", "message", "x\n\n y")]),
    "carriage returns": (
        b"data: x\r\rdata: y\r\n\r\n",
        [Event("", "message", "x"), Event("", "message", "y")],
    ),
    "comments and unknown fields": (b": ping\n\nfoo: bar\ndata: x\n\n", [Event("", "message", "x")]),
    "an id that persists": (b"id: 7\n\ndata: x\n\n", [Event("7", "message", "x")]),
    "an id with a NUL": (b"id: 7\0\ndata: x\n\n", [Event("", "message", "x")]),
    "a type that does not persist": (
        b"event: a\n\nevent: b\ndata: x\n\ndata: y\n\n",
        [Event("", "b", "x"), Event("", "message", "y")],
    ),
    "a byte order mark": (b"\xef\xbb\xbfdata: x\n\n", [Event("", "message", "x")]),
    "line separators inside": (
        "data: \u2028\x0b\x85é\n\n".encode(),
        [Event("", "message", "\u2028\x0b\x85é")],
    ),
    "an incomplete last event": (b"data: x\n\ndata: y\n", [Event("", "message", "x")]),
}


def parse(chunks: Iterable[bytes]) -> list[Event]:
    parser = Parser()
    return [event for chunk in chunks for event in parser.feed(chunk)]


@pytest.mark.parametrize(("raw", "expected"), STREAMS.values(), ids=STREAMS.keys())
def test_a_stream_is_parsed_as_the_standard_says(raw: bytes, expected: list[Event]) -> None:
    assert list(Parser().feed(raw)) == expected


@given(st.data())
def test_the_split_into_chunks_does_not_change_the_events(data: st.DataObject) -> None:
    raw = b"\r\n".join(stream for stream, _ in STREAMS.values())
    cuts = sorted(data.draw(st.sets(st.integers(0, len(raw)), max_size=40)))
    chunks = [raw[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    assert parse(chunks) == list(Parser().feed(raw))


def test_delays_grow_up_to_a_limit_and_start_over_after_a_response() -> None:
    backoff = ReconnectBackoff(lambda: 1.0)
    assert [backoff.next_delay() for _ in range(7)] == [
        0.5,
        1.0,
        2.0,
        4.0,
        8.0,
        MAX_DELAY_SECONDS,
        MAX_DELAY_SECONDS,
    ]
    backoff.reset()
    assert (backoff.waited_seconds, backoff.next_delay(), backoff.next_delay(99)) == (
        0.0,
        0.5,
        MAX_DELAY_SECONDS,
    )


@pytest.mark.parametrize(
    "line", [b"data: ", b"data: " + bytes(10_000) + b"\n"], ids=["one line", "many lines"]
)
def test_an_endless_event_is_rejected(line: bytes) -> None:
    chunk = line if line.endswith(b"\n") else b"x" * 100_000
    endless = (chunk for _ in range(2 * MAX_EVENT_CHARACTERS // len(chunk)))
    with pytest.raises(EventTooLarge):
        parse(endless)
