"""Processes of `framehook webhooks listen` for one endpoint, over a connection that can be cut."""

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import msgspec

from tests.faults.cluster.proxy import Deliver, Proxy
from tests.faults.cluster.replicas import fork

COMMAND = "tests.faults.cluster.replica_entry:run_command"
Attempt = tuple[str, int]
"""A delivery id, and the number of the attempt."""


class Listener:
    """One process of the command."""

    def __init__(self, folder: Path, log: Path, words: Sequence[str], settings: Mapping[str, str]) -> None:
        self.log = log
        self.has_reported = False
        self._process: ForkServerProcess = fork(folder, log, settings, words, COMMAND)
        self._read_bytes = 0

    @property
    def running(self) -> bool:
        return self._process.is_alive()

    def kill(self) -> None:
        """Kill the process with SIGKILL."""
        self._process.kill()
        self._process.join()

    def read_successes(self) -> Iterator[Attempt]:
        """Yield the attempts whose success the service has confirmed since the last call."""
        if not self.log.exists():
            return
        lines, _, _ = self.log.read_bytes()[self._read_bytes :].rpartition(b"\n")
        self._read_bytes += len(lines) + 1 if lines else 0
        for line in lines.splitlines():
            if not line.startswith(b"{"):
                continue  # it lost its connection
            entry = msgspec.json.decode(line)
            self.has_reported = True
            if entry["outcome"].get("status") == 204 and entry["diagnosis"] is None:
                yield entry["delivery_id"], entry["attempt"]


class ListenedEndpoint:
    """An endpoint without a URL, with one or two processes that forward its deliveries to a receiver."""

    def __init__(self, folder: Path, name: str, words: Sequence[str], ports: Sequence[int]) -> None:
        """Create it; `words` are the options of the command but for the service's URL and the endpoint."""
        self.wanted = 1
        self.endpoint_id: str | None = None
        self.confirmed: dict[Attempt, float] = {}  # when a success was known at the latest, since the epoch
        self.proxy = Proxy(ports, _refuse_callback)
        self._folder = folder
        self._name = name
        self._words = words
        self._listeners: list[Listener] = []
        self._starts = 0

    def tend(self) -> list[str]:
        """Read what was reported and start the processes that are missing; return what is wrong with the others."""
        wrong = []
        for listener in self._listeners:
            self._read(listener)
            if not listener.running and listener.has_reported:
                wrong.append(f"{listener.log.name} ended by itself: {listener.log.read_text()[-500:]}")
        self._listeners = [listener for listener in self._listeners if listener.running]
        while len(self._listeners) < self.wanted:
            self._start()
        return wrong

    def kill_one(self, chance: random.Random) -> None:
        """Kill one of the processes, if there is one."""
        if self._listeners:
            listener = chance.choice(self._listeners)
            self._listeners.remove(listener)
            listener.kill()
            self._read(listener)

    def stop(self) -> None:
        """Kill all processes."""
        for listener in self._listeners:
            listener.kill()

    def tail(self) -> str:
        """Return the end of what the processes print."""
        return "\n".join(
            f"--- {listener.log.name}\n{listener.log.read_text()[-2_000:]}" for listener in self._listeners
        )

    def _start(self) -> None:
        self._starts += 1
        log = self._folder / f"{self._name}-{self._starts}.log"
        endpoint = ["--endpoint", self.endpoint_id] if self.endpoint_id else ["--keep"]
        server = ["--server", f"http://127.0.0.1:{self.proxy.port}"]
        words = ["webhooks", "listen", "--json", *self._words, *endpoint, *server]
        self._listeners.append(Listener(self._folder, log, words, {}))

    def _read(self, listener: Listener) -> None:
        for attempt in listener.read_successes():
            self.confirmed.setdefault(attempt, time.time())


async def _refuse_callback(_body: bytes, _deliver: Deliver) -> bytes | None:
    raise AssertionError("a listener sends no callbacks")
