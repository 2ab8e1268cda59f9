"""The readers of a benchmark, in a process of their own."""

import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from tests.bench.fanout.reader_process import Opening, serve_commands

TIMEOUT_SECONDS = 120


class ReaderProcess:
    """A process that reads streams; commands are answered in order."""

    def __init__(self, commands: Connection) -> None:
        self._commands = commands

    def open(self, openings: Sequence[Opening]) -> float:
        """Open streams and return the seconds until each had its first message."""
        self._commands.send(("open", list(openings)))
        seconds: float = self.finish()
        return seconds

    def start_waiting(self, stamp: str) -> None:
        """Wait for a message; `finish` returns the seconds that it took to each reader."""
        self._commands.send(("await_message", stamp.rpartition("-")[2].encode()))

    def start_collecting(self, seconds: float) -> None:
        """Read for a time; `finish` returns the seconds that each message took."""
        self._commands.send(("collect", seconds))

    def finish(self) -> Any:
        """Return the result of the last command; raises what it raised."""
        if not self._commands.poll(TIMEOUT_SECONDS):
            raise TimeoutError("not every reader has got its message")
        result = self._commands.recv()
        if isinstance(result, Exception):
            raise result
        return result

    def close_streams(self) -> None:
        """Close all streams."""
        self._commands.send(("close",))
        self.finish()


@contextmanager
def run_readers() -> Iterator[ReaderProcess]:
    """Run a process of readers until the block ends."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve_commands, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ReaderProcess(ours)
    finally:
        ours.close()
        process.join(5)
        process.terminate()


def event_stream_request(path: str) -> bytes:
    """Return the request that opens an event stream."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n".encode()


def socket_request(path: str) -> bytes:
    """Return the handshake of a WebSocket, as a browser offers it."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
    ).encode()
