"""Parse Server-Sent Events (HTML standard, §9.2.6), and compute reconnect delays.

`str.splitlines` and httpx's `iter_lines` also split at U+2028 and similar characters, which JSON may hold unescaped.
"""

import codecs
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

MAX_EVENT_CHARACTERS = 2**24
"""Longer than the longest event, a snapshot of 200 exports."""
INITIAL_DELAY_SECONDS = 0.5
MAX_DELAY_SECONDS = 15.0
MAX_REQUESTED_DELAY_SECONDS = 60.0
"""The longest initial delay that a server may request; it does so when it has no room for more streams."""
_MAX_DOUBLINGS = 16

_LINE_END = re.compile(r"\r\n|\r|\n")
_RETRY = re.compile(r"[0-9]{1,9}")


class EventTooLarge(Exception):
    """An event exceeds MAX_EVENT_CHARACTERS."""


@dataclass(frozen=True)
class Event:
    """One event; `id` is the last one that the stream has set. `data` is the standard's term."""

    id: str
    type: str
    data: str


class Parser:
    """Parser of one stream; `retry_milliseconds` is the delay that the server requested."""

    def __init__(self) -> None:
        self.retry_milliseconds: int | None = None
        self._lines = LineSplitter()
        self._id = ""
        self._type = ""
        self._data_lines: list[str] = []
        self._buffered_characters = 0

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Yield the events that this chunk completes; an incomplete last one of a stream is dropped."""
        for line in self._lines.feed(chunk):
            if line:
                self._add_field(line)
                continue
            if self._data_lines:
                yield Event(self._id, self._type or "message", "\n".join(self._data_lines))
            self._data_lines, self._type, self._buffered_characters = [], "", 0

    def _add_field(self, line: str) -> None:
        self._buffered_characters += len(line)
        if self._buffered_characters > MAX_EVENT_CHARACTERS:
            raise EventTooLarge
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "data":
                self._data_lines.append(value)
            case "event":
                self._type = value
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if _RETRY.fullmatch(value):
                self.retry_milliseconds = int(value)


class LineSplitter:
    """Split chunks into lines without their ends (CRLF, CR or LF), however the ends are split over chunks."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._parts: list[str] = []
        self._buffered_characters = 0
        self._ended_with_cr = False

    def feed(self, chunk: bytes) -> Iterator[str]:
        """Yield the lines that this chunk completes."""
        text = self._decoder.decode(chunk)
        if not text:
            return
        if self._ended_with_cr:
            text = text.removeprefix("\n")  # the second half of a CRLF whose first half has ended the line
        self._ended_with_cr = text.endswith("\r")
        first, *others = _LINE_END.split(text)
        self._append(first)
        for line in others:
            yield "".join(self._parts)
            self._parts, self._buffered_characters = [], 0
            self._append(line)

    def _append(self, part: str) -> None:
        self._parts.append(part)
        self._buffered_characters += len(part)
        if self._buffered_characters > MAX_EVENT_CHARACTERS:
            raise EventTooLarge


class ReconnectBackoff:
    """Exponential backoff with jitter.

    A response of the server resets it and may set the initial delay.
    """

    def __init__(self, jitter: Callable[[], float] = random.random) -> None:
        self._jitter = jitter
        self._initial_seconds = INITIAL_DELAY_SECONDS
        self._failures = 0
        self.waited_seconds = 0.0

    def reset(self, retry_milliseconds: int | None = None) -> None:
        """Start over after a response, from the requested delay if there is one."""
        self._failures, self.waited_seconds = 0, 0.0
        if retry_milliseconds is not None:
            self._initial_seconds = min(retry_milliseconds / 1000, MAX_REQUESTED_DELAY_SECONDS)

    def next_delay(self, at_least_seconds: float = 0.0) -> float:
        """Return the seconds to wait before the next try."""
        longest = max(MAX_DELAY_SECONDS, self._initial_seconds)
        delay = min(self._initial_seconds * 2.0 ** min(self._failures, _MAX_DOUBLINGS), longest)
        delay = max(delay * (0.5 + self._jitter() / 2), min(at_least_seconds, MAX_DELAY_SECONDS))
        self._failures += 1
        self.waited_seconds += delay
        return delay
