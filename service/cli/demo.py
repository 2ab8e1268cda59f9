"""`framehook demo`: the service, a video to export, and the export, from nothing; then it keeps running.

The service is a process of its own, started as anyone would start it; everything else goes through its public API.
"""

import fcntl
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

from rich.console import Console
from rich.text import Text

from service.cli import sample_video
from service.cli.console import (
    WatchDisplay,
    byte_callback,
    describe_result,
    progress_display,
    timeline_lines,
    to_printable,
)
from service.cli.modal_dev import local_modal
from service.cli.subprocesses import exit_on_signals, start, stop
from service.client import Client, ClientError, Export
from service.settings import Settings

CROP_WIDTH, OUTPUT_WIDTH = sample_video.HEIGHT * 9 / 16, 608  # 607.5 pixels have no even number
START_SECONDS = 60.0
POLL_SECONDS = 0.1
LOG_LINES_SHOWN = 15
INTERRUPTED = 130


class Demo:
    """One run of the demo, in a data folder of its own or the service's; `modal` runs the export on Modal, here."""

    def __init__(self, settings: Settings, token: str | None, *, modal: bool = False) -> None:
        self._settings = settings
        self._modal = modal
        self._token = token
        self._folder = settings.data_dir / "demo"
        self._log = settings.data_dir / "demo.log"
        self._console = Console()

    def run(self, *, once: bool) -> int:
        """Show it all; the exit status."""
        exported = False
        try:
            with exit_on_signals(), self._alone(), self._platform() as environment:
                port = self._free_port()
                with self._service(port, environment) as child:
                    exported = self._export(child, port)
                    if exported and not once:
                        self._stay(child, port)
        except ClientError as error:
            self._complain(str(error))
            return 1
        except OSError as error:
            self._complain(f"{error.filename or self._settings.data_dir}: {error.strerror or error}")
            return 1
        except KeyboardInterrupt:
            self._step("Stopped")
            return 0 if exported else INTERRUPTED
        return 0 if exported else 1

    def _export(self, child: subprocess.Popen[bytes], port: int) -> bool:
        self._step("Making a ten-second video with sound")
        source = self._folder / "source.mp4"
        sample_video.make(source)
        with Client(self._url(port), self._token) as client:
            self._await_ready(child, client)
            self._step(f"The service is ready at {client.url}")
            with progress_display(self._console) as shown:
                key = client.upload(source, byte_callback(shown, "sending"))
            self._step("Exporting a vertical crop that follows the ball")
            job = self._watched(child, client, client.submit("framing", _config(key)))
            if job.status != "complete":
                self._complain(describe_result(job))
                self._show_log()
                return False
            target = self._folder / "vertical.mp4"
            client.download(job, target, lambda _done, _total: None)
            timeline = client.timeline(job.job_id)
        self._step(describe_result(job))
        for line in timeline_lines(timeline):
            self._console.print(f"  {line}", soft_wrap=True, highlight=False)
        self._step(f"Saved to {target}, made from {source}")
        return True

    def _watched(self, child: subprocess.Popen[bytes], client: Client, job: Export) -> Export:
        def away(reason: str) -> None:
            if child.poll() is not None:
                self._show_log()
                raise ClientError(f"the service ended with status {child.returncode} while it was exporting")
            sight.lost(reason)

        with progress_display(self._console) as shown:
            sight = WatchDisplay(shown)
            for state in client.watch(job.job_id, away):
                job = state
                sight.seen(job)
        return job

    def _stay(self, child: subprocess.Popen[bytes], port: int) -> None:
        self._step(f"The service goes on at {self._url(port)} until Ctrl-C")
        status = child.wait()
        self._show_log()
        raise ClientError(f"the service ended by itself, with status {status}")

    def _platform(self) -> AbstractContextManager[Mapping[str, str]]:
        """Where exports run, as the service's environment."""
        return local_modal(self._settings, self._step) if self._modal else nullcontext({})

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Two services on one data folder would take each other's exports away."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._settings.data_dir / "demo.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ClientError(
                    f"another demo is running in {self._settings.data_dir}; end it, or pass --data-dir"
                ) from None
            yield

    def _free_port(self) -> int:
        wanted = self._settings.port
        if _is_free(self._settings.host, wanted):
            return wanted
        port = find_free_port(self._settings.host)
        self._step(f"Port {wanted} is taken; using {port}")
        return port

    @contextmanager
    def _service(self, port: int, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
        """The service as a child in a session of its own, so that Ctrl-C reaches it through here only."""
        self._step(f"Starting the service (its log: {self._log})")
        where = (
            "--host",
            self._settings.host,
            "--port",
            str(port),
            "--data-dir",
            str(self._settings.data_dir),
        )
        public = {"PUBLIC_URL": self._url(port)} if self._modal else {}
        with self._log.open("wb") as log:
            child = start(
                ("service.cli.main", "serve", *where), log=log, environment={**environment, **public}
            )
        try:
            yield child
        finally:
            stop(child)

    def _await_ready(self, child: subprocess.Popen[bytes], client: Client) -> None:
        give_up_at = time.monotonic() + START_SECONDS
        while not client.is_ready():
            status = child.poll()
            if status is not None or time.monotonic() > give_up_at:
                self._show_log()
                what = "did not become ready" if status is None else f"ended with status {status}"
                raise ClientError(f"the service {what}")
            time.sleep(POLL_SECONDS)

    def _url(self, port: int) -> str:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._settings.host, self._settings.host)  # noqa: S104 - compared
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def _step(self, sentence: str) -> None:
        self._console.print(Text.assemble(("> ", "bold cyan"), to_printable(sentence)), soft_wrap=True)

    def _complain(self, sentence: str) -> None:
        print(f"framehook: {sentence}", file=sys.stderr)

    def _show_log(self) -> None:
        lines = self._log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
        for line in lines:
            print(f"  | {to_printable(line)}", file=sys.stderr)


def _config(key: str) -> dict[str, object]:
    return {
        "input_key": key,
        "keyframes": sample_video.follow(CROP_WIDTH),
        "output_width": OUTPUT_WIDTH,
        "output_height": sample_video.HEIGHT,
    }


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def find_free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on now."""
    with socket.create_server((host, 0), family=_family(host)) as found:
        return int(found.getsockname()[1])


def _is_free(host: str, port: int) -> bool:
    try:
        socket.create_server((host, port), family=_family(host)).close()
    except OSError:
        return False
    return True
