"""Thousands of readers of streams in one process: a loop over epoll that parses nothing but a time.

Every message contains `STAMP` and the time at which it was sent, by the clock that all processes share. What the
readers cost is not measured, so they do as little as they can.
"""

import select
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Final

STAMP: Final = b"sent-at-"
DIGITS: Final = 16
_STAMP_BYTES = len(STAMP) + DIGITS
RECEIVE_BYTES = 65_536
CONNECTING_AT_ONCE = 500
_PING, _PONG = b"\x89", b"\x8a\x80\x00\x00\x00\x00"
READ = select.EPOLLIN


def make_stamp() -> str:
    """Return the text that a message sent now has to contain."""
    return f"{STAMP.decode()}{time.perf_counter_ns() // 1_000:0{DIGITS}d}"


@dataclass(frozen=True)
class Opening:
    """One stream to open: where, from which address, with which request; and what its first message contains."""

    port: int
    source: str
    request: bytes
    first: bytes


class Readers:
    """Open connections, by file descriptor, and the last time that each of them has received."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._last: dict[int, int] = {}
        self._parts: dict[int, bytes] = {}

    def open(self, openings: list[Opening]) -> float:
        """Open streams, some hundred at once, until each has its first message; return the seconds."""
        began = time.perf_counter()
        waiting: dict[int, bytes] = {}
        remaining = iter(openings)
        is_exhausted = False
        while waiting or not is_exhausted:
            while len(waiting) < CONNECTING_AT_ONCE and not is_exhausted:
                opening = next(remaining, None)
                if opening is None:
                    is_exhausted = True
                else:
                    waiting[self._connect(opening)] = opening.first
            for descriptor, _ in self._epoll.poll():
                received = self._parts.get(descriptor, b"") + self._receive(descriptor)
                self._parts[descriptor] = received
                if waiting.get(descriptor, b"\0") in received:
                    del waiting[descriptor]
                    self._parts[descriptor] = b""
        return time.perf_counter() - began

    def await_message(self, stamp: bytes) -> list[float]:
        """Read until every reader has this message; return how many seconds it took to each."""
        sent = int(stamp)
        seconds: list[float] = []
        while len(seconds) < len(self._sockets):
            for descriptor, _ in self._epoll.poll():
                if (latest := self._read_latest(descriptor)) >= sent > self._last.get(descriptor, 0):
                    seconds.append(time.perf_counter() - sent / 1e6)
                self._last[descriptor] = max(latest, self._last.get(descriptor, 0))
        return seconds

    def collect(self, for_seconds: float) -> list[float]:
        """Read for a time; return how many seconds each message took."""
        until = time.perf_counter() + for_seconds
        seconds = []
        while (left := until - time.perf_counter()) > 0:
            for descriptor, _ in self._epoll.poll(left):
                if latest := self._read_latest(descriptor):
                    seconds.append(time.perf_counter() - latest / 1e6)
        return seconds

    def close(self) -> None:
        """Close all connections."""
        for opened in self._sockets.values():
            opened.close()
        self._sockets.clear()
        self._last.clear()
        self._parts.clear()

    def _connect(self, opening: Opening) -> int:
        connecting = socket.socket()
        connecting.bind((opening.source, 0))
        connecting.connect(("127.0.0.1", opening.port))
        connecting.sendall(opening.request)
        connecting.setblocking(False)
        self._sockets[connecting.fileno()] = connecting
        self._epoll.register(connecting.fileno(), READ)
        return connecting.fileno()

    def _receive(self, descriptor: int) -> bytes:
        try:
            received = self._sockets[descriptor].recv(RECEIVE_BYTES)
        except BlockingIOError:
            return b""
        if not received:
            raise RuntimeError("the server has closed a stream")
        if received.startswith(_PING):
            self._sockets[descriptor].send(_PONG)
        return received

    def _read_latest(self, descriptor: int) -> int:
        """Return the newest time in what has come, in microseconds; 0 if there is none."""
        received = self._parts.pop(descriptor, b"") + self._receive(descriptor)
        begin = received.rfind(STAMP)
        if begin < 0 or len(received) < begin + _STAMP_BYTES:
            self._parts[descriptor] = received[-_STAMP_BYTES:]
        return int(received[begin + len(STAMP) : begin + _STAMP_BYTES] or 0) if begin >= 0 else 0


def serve_commands(commands: Connection) -> None:
    """Do what the benchmark asks for, until it closes the pipe."""
    readers = Readers()
    with suppress(EOFError):
        while True:
            name, *arguments = commands.recv()
            try:
                commands.send(getattr(readers, name)(*arguments))
            except (RuntimeError, OSError) as error:
                commands.send(error)
