"""A real HTTP server with scripted responses, and a clock that tests move."""

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, Queue

from callbacks.envelope import Callback, decode
from callbacks.sender import Clock
from callbacks.signing import verify

TIMEOUT_SECONDS = 10.0
KEY = bytes(range(32))
PATH = "/api/callbacks/job-1"


@dataclass(frozen=True)
class ScriptedResponse:
    """One response; it is sent once `release` is set."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b'{"sequence": 1}'
    release: threading.Event | None = None


@dataclass(frozen=True)
class ReceivedCallback:
    """One request, with a verified signature."""

    message_id: str
    timestamp: int
    signature: str
    raw: bytes

    @property
    def callback(self) -> Callback:
        return decode(self.raw)

    @property
    def step(self) -> int:
        return self.callback.data.step


class Receiver:
    """Answers with the scripted responses, then with 200."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.url = f"http://127.0.0.1:{server.server_port}{PATH}"
        self.paths: list[str] = []
        self._server = server
        self._script: deque[ScriptedResponse] = deque()
        self._received: Queue[ReceivedCallback] = Queue()

    def script(self, *answers: int | ScriptedResponse) -> None:
        self._script.extend(
            ScriptedResponse(answer) if isinstance(answer, int) else answer for answer in answers
        )

    def take(self) -> ReceivedCallback:
        """Wait for the next request and return it."""
        return self._received.get(timeout=TIMEOUT_SECONDS)

    def take_all(self) -> list[ReceivedCallback]:
        """Return the requests that have arrived."""
        taken = []
        while True:
            try:
                taken.append(self._received.get_nowait())
            except Empty:
                return taken

    def listen(self) -> None:
        """Accept connections; before this they are refused."""
        self._server.server_activate()
        threading.Thread(target=self._server.serve_forever, args=(0.005,), daemon=True).start()

    def answer(self, path: str, headers: Mapping[str, str], raw: bytes) -> ScriptedResponse:
        self.paths.append(path)
        timestamp = int(headers["webhook-timestamp"])
        message_id = verify([KEY], headers, raw, now=timestamp)
        answer = self._script.popleft() if self._script else ScriptedResponse()
        self._received.put(ReceivedCallback(message_id, timestamp, headers["webhook-signature"], raw))
        if answer.release is not None:
            answer.release.wait(TIMEOUT_SECONDS)
        return answer


@contextmanager
def receiver(*, listening: bool = True) -> Iterator[Receiver]:
    """Serve a receiver on a free port of the loopback interface."""

    class Route(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            answer = script_server.answer(
                self.path, {name.lower(): value for name, value in self.headers.items()}, raw
            )
            self.send_response(answer.status)
            for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Ignore clients that disconnect."""

    server = Server(("127.0.0.1", 0), Route, bind_and_activate=False)
    server.server_bind()
    script_server = Receiver(server)
    try:
        if listening:
            script_server.listen()
        yield script_server
    finally:
        server.shutdown()
        server.server_close()


class FakeClock(Clock):
    """A clock that stops until a test moves it."""

    def __init__(self) -> None:
        self._now = 1_790_000_000.0
        self._sleeping = threading.Condition()
        self._sleepers: dict[int, tuple[threading.Condition, float | None]] = {}

    def time(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    def wait(self, condition: threading.Condition, until: float | None) -> None:
        me = threading.get_ident()
        with self._sleeping:
            if until is not None and self._now >= until:
                return
            self._sleepers[me] = (condition, until)
            self._sleeping.notify_all()
        was_notified = condition.wait(TIMEOUT_SECONDS)
        with self._sleeping:
            del self._sleepers[me]
        assert was_notified, "no test moved the clock"

    def wait_for_sleeper(self, seconds: float | None) -> None:
        """Wait until a thread sleeps for exactly so long; None for one that waits to be notified."""
        wanted = None if seconds is None else round(self._now + seconds, 3)
        with self._sleeping:
            assert self._sleeping.wait_for(
                lambda: wanted in {until and round(until, 3) for _, until in self._sleepers.values()},
                TIMEOUT_SECONDS,
            ), f"no thread sleeps for {seconds} s, but {self._sleepers.values()}"

    def wait_for_sleepers(self, count: int) -> None:
        """Wait until so many threads sleep."""
        with self._sleeping:
            assert self._sleeping.wait_for(lambda: len(self._sleepers) == count, TIMEOUT_SECONDS)

    def advance(self, seconds: float) -> None:
        """Wait until a thread sleeps for exactly so long, and wake it."""
        self.wait_for_sleeper(seconds)
        with self._sleeping:
            self._now += seconds
            conditions = [condition for condition, _ in self._sleepers.values()]
        for condition in conditions:
            with condition:
                condition.notify_all()
