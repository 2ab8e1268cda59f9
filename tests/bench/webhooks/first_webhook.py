"""How long a developer waits for the first verified webhook in an application on the same machine.

Each start has an empty folder. The commands are typed without a pause: `framehook serve`, and once it answers
`framehook webhooks listen`, and once that is ready `framehook webhooks trigger`.
"""

import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.bench.benchmark import Benchmark, Figure, Options, Size
from tests.bench.measure.samples import Samples
from tests.bench.measure.servers import serve_framehook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
EVENT = "export.completed"
WITHIN_SECONDS = 120.0
WEBHOOKS = (sys.executable, "-m", "service.cli.main", "webhooks")
LISTEN_AND_TRIGGER = "listen and trigger, the service runs"
WITH_SERVICE = "serve, listen and trigger"


@dataclass(frozen=True)
class Application:
    """The developer's own application: its URL, and when it has verified an event."""

    url: str
    verified: "queue.SimpleQueue[float]"


@contextmanager
def open_application() -> Iterator[Application]:
    """Serve an application that verifies what it gets with the secret, until the block ends."""
    verified: queue.SimpleQueue[float] = queue.SimpleQueue()
    webhook = Webhook(SECRET)

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            try:
                event = webhook.verify(body, dict(self.headers.items()))
            except WebhookVerificationError:
                self.send_response(401)
            else:
                if event["type"] == EVENT:
                    verified.put(time.perf_counter())
                self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base
            pass

    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield Application(f"http://127.0.0.1:{server.server_port}/hook", verified)
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def listen(service: str, application: Application) -> Iterator[str]:
    """Run `framehook webhooks listen` until the block ends; yield the id of its endpoint once it is ready."""
    words = ["listen", "--forward", application.url, "--secret", SECRET, "--server", service]
    with subprocess.Popen([*WEBHOOKS, *words], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            endpoint_id = ""
            for line in process.stdout:
                if line.startswith("Listening as "):
                    endpoint_id = line.split()[2].rstrip(",")
                elif line.startswith("Ready"):
                    break
            yield endpoint_id
        finally:
            process.terminate()
            process.communicate(timeout=WITHIN_SECONDS)


def measure_start() -> tuple[float, float]:
    """Return the seconds until the application has verified an event, from `listen` and from `serve` on."""
    with open_application() as application, tempfile.TemporaryDirectory(prefix="framehook-bench-") as folder:
        began = time.perf_counter()
        with serve_framehook(Path(folder) / "var", {}) as server:
            service = f"http://127.0.0.1:{server.port}"
            served = time.perf_counter()
            with listen(service, application) as endpoint_id:
                words = ["trigger", EVENT, "--endpoint", endpoint_id, "--server", service]
                subprocess.run(
                    [*WEBHOOKS, *words], check=True, stdout=subprocess.DEVNULL, timeout=WITHIN_SECONDS
                )
                verified = application.verified.get(timeout=WITHIN_SECONDS)
    return verified - served, verified - began


def run(options: Options) -> list[Figure]:
    """Measure so many starts, each of a new service."""
    samples = Samples()
    for _ in range(options.rounds):
        starts = [measure_start() for _ in range(options.sizes["starts"])]
        for variant, times in zip((LISTEN_AND_TRIGGER, WITH_SERVICE), zip(*starts, strict=True), strict=True):
            samples.add(variant, "median", statistics.median(times), "s")
            samples.add(variant, "worst", max(times), "s")
    return samples.to_figures()


BENCHMARK = Benchmark(
    description="Time until one's own application on the same machine has verified its first `export.completed`, from "
    "the first of two commands, `framehook webhooks listen` and `framehook webhooks trigger`, and from the start of "
    "the service in an empty folder.",
    run=run,
    rounds=1,
    sizes={"starts": Size(10, smoke=1)},
)
