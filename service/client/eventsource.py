"""Server-Sent Events, read as the HTML standard says (§9.2.6): bytes in, events out; and how long to stay away.

`str.splitlines` and httpx's `iter_lines` also break at U+2028 and the like, which JSON may hold as they are.
"""

import codecs
import random
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

MAX_EVENT_CHARACTERS = 2**18
INITIAL_DELAY_SECONDS = 0.5
MAX_DELAY_SECONDS = 15.0
MAX_REQUESTED_DELAY_SECONDS = 60.0
"""What the other side may ask for as a first pause: it does so where it has no room for more readers."""

_LINE_END = re.compile(r"\r\n|\r|\n")
_RETRY = re.compile(r"[0-9]{1,9}")


class EventTooLarge(Exception):
    """An event larger than any that is sent in earnest."""


@dataclass(frozen=True)
class Event:
    """One event; `id` is the last that the stream has named, here or before. `data` is the standard's word."""

    id: str
    type: str
    data: str


class Parser:
    """What one stream has said so far; `retry_milliseconds` is the pause that it asked for, if it did."""

    def __init__(self) -> None:
        self.retry_milliseconds: int | None = None
        self._id = ""
        self._type = ""
        self._lines: list[str] = []
        self._held = 0

    def events(self, chunks: Iterable[bytes]) -> Iterator[Event]:
        """The events of a stream; one that its end cuts off is dropped."""
        for line in lines(chunks):
            if line:
                self._take(line)
                continue
            if self._lines:
                yield Event(self._id, self._type or "message", "\n".join(self._lines))
            self._lines, self._type, self._held = [], "", 0

    def _take(self, line: str) -> None:
        self._held += len(line)
        if self._held > MAX_EVENT_CHARACTERS:
            raise EventTooLarge
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "data":
                self._lines.append(value)
            case "event":
                self._type = value
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if _RETRY.fullmatch(value):
                self.retry_milliseconds = int(value)


def lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Lines without their ends: CRLF, CR and LF each end one, however they fall into chunks."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
    rest, after_cr = "", False
    for chunk in chunks:
        text = decoder.decode(chunk)
        if not text:
            continue
        if after_cr:
            text = text.removeprefix("\n")  # the second half of a CRLF whose first half has ended the line
        after_cr = text.endswith("\r")
        *whole, rest = _LINE_END.split(rest + text)
        yield from whole
        if len(rest) > MAX_EVENT_CHARACTERS:
            raise EventTooLarge


class ReconnectBackoff:
    """How long to wait before each next try: twice as long each time, jittered, back to the first once heard."""

    def __init__(self, jitter: Callable[[], float] = random.random) -> None:
        self._chance = jitter
        self._first = INITIAL_DELAY_SECONDS
        self._failures = 0
        self.waited_seconds = 0.0

    def reset(self, retry_milliseconds: int | None = None) -> None:
        """The other side is there, and may have said how long a first pause should be."""
        self._failures, self.waited_seconds = 0, 0.0
        if retry_milliseconds is not None:
            self._first = min(retry_milliseconds / 1000, MAX_REQUESTED_DELAY_SECONDS)

    def next_delay(self, at_least_seconds: float = 0.0) -> float:
        longest = max(MAX_DELAY_SECONDS, self._first)
        pause = min(self._first * 2.0 ** min(self._failures, 16), longest)
        pause = max(pause * (0.5 + self._chance() / 2), min(at_least_seconds, MAX_DELAY_SECONDS))
        self._failures += 1
        self.waited_seconds += pause
        return pause
