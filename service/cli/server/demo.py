"""Start the service, create a sample video and export it: `framehook demo`.

The service is a process of its own, started like any other; the demo uses only its public API.
"""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import NoReturn

import typer
from rich.console import Console
from rich.text import Text

from framehook import Client, Export, FramehookError
from infra.lock import LockTaken, hold_lock
from service import sample_video
from service.cli.console import (
    ExportDisplay,
    byte_callback,
    describe_result,
    progress_display,
    timeline_lines,
    to_printable,
)
from service.cli.errors import describe_error, print_error
from service.cli.modal.emulator import local_modal
from service.cli.server.subprocesses import exit_on_signals, start, stop
from service.cli.server.tokens import create_token
from service.settings import Settings
from service.startup.commands import exit_on_start_error, load_settings_or_exit
from service.startup.errors import prepare_data_dir
from service.startup.statuses import INTERRUPTED_STATUS

DEMO_USER = "demo"
CROP_WIDTH, OUTPUT_WIDTH = sample_video.HEIGHT * 9 / 16, 608  # 607.5, and the even width next to it
START_TIMEOUT_SECONDS = 60.0
POLL_SECONDS = 0.1
LOG_TAIL_LINES = 15


class Demo:
    """One run of the demo; with `modal` the export runs on the local Modal emulator."""

    def __init__(self, settings: Settings, token: str | None, *, modal: bool = False) -> None:
        self._settings = settings
        self._modal = modal
        self._token = token
        self._folder = settings.data_dir / "demo"
        self._log = settings.data_dir / "demo.log"
        self._console = Console()

    def run(self, *, once: bool) -> int:
        """Run the demo and return the exit status; with `once` the service stops after the export."""
        is_exported = False
        try:
            with exit_on_signals(), self._lock(), self._modal_environment() as environment:
                port = self._choose_port()
                with self._run_service(port, environment) as child:
                    is_exported = self._run_export(child, port)
                    if is_exported and not once:
                        self._keep_running(child, port)
        except FramehookError as error:
            print_error(describe_error(error))
            return 1
        except OSError as error:
            print_error(f"{error.filename or self._settings.data_dir}: {error.strerror or error}")
            return 1
        except KeyboardInterrupt:
            self._step("Stopped")
            return 0 if is_exported else INTERRUPTED_STATUS
        return 0 if is_exported else 1

    def _run_export(self, child: subprocess.Popen[bytes], port: int) -> bool:
        self._step("Creating a ten-second sample video")
        source = self._folder / "source.mp4"
        sample_video.write_video(source)
        with Client(self._url(port), self._token) as client:
            self._wait_until_ready(child, client)
            self._step(f"The service is ready at {client.base_url}")
            with progress_display(self._console) as display:
                key = client.upload(source, on_progress=byte_callback(display, "uploading"))
            self._step("Exporting a vertical crop that follows the ball")
            job = self._watch_export(child, client, client.create_export("framing", _export_config(key)))
            if job.status != "complete":
                print_error(describe_result(job))
                self._show_log()
                return False
            target = self._folder / "vertical.mp4"
            client.download(job, target)
            timeline = client.timeline(job.job_id)
        self._step(describe_result(job))
        for line in timeline_lines(timeline):
            self._console.print(f"  {line}", soft_wrap=True, highlight=False)
        self._step(f"Saved to {target} (source: {source})")
        return True

    def _watch_export(self, child: subprocess.Popen[bytes], client: Client, job: Export) -> Export:
        def on_disconnect(reason: str) -> None:
            if child.poll() is not None:
                self._show_log()
                raise FramehookError(f"the service stopped with status {child.returncode} during the export")
            export_display.on_disconnect(reason)

        with progress_display(self._console) as display:
            export_display = ExportDisplay(display)
            for state in client.watch(job, on_disconnect=on_disconnect):
                job = state
                export_display.show(job)
        return job

    def _keep_running(self, child: subprocess.Popen[bytes], port: int) -> None:
        self._step(f"The service keeps running until you press Ctrl-C; see the export at {self._url(port)}")
        status = child.wait()
        self._show_log()
        raise FramehookError(f"the service stopped unexpectedly with status {status}")

    def _modal_environment(self) -> AbstractContextManager[Mapping[str, str]]:
        """Yield the environment variables that make the service use Modal; none without `modal`."""
        return local_modal(self._settings, self._step) if self._modal else nullcontext({})

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Lock the data folder: two services on it would take over each other's exports."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            try:
                stack.enter_context(hold_lock(self._settings.data_dir / "demo.lock"))
            except LockTaken:
                raise FramehookError(
                    f"another demo is running in {self._settings.data_dir}; stop it, or use another --data-dir"
                ) from None
            yield

    def _choose_port(self) -> int:
        preferred = self._settings.port
        if _is_free(self._settings.host, preferred):
            return preferred
        port = find_free_port(self._settings.host)
        self._step(f"Port {preferred} is in use; using {port}")
        return port

    @contextmanager
    def _run_service(self, port: int, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
        """Run the service in its own session: Ctrl-C reaches it only through this process."""
        self._step(f"Starting the service (log: {self._log})")
        host, folder = self._settings.host, str(self._settings.data_dir)
        arguments = ("--host", host, "--port", str(port), "--data-dir", folder)
        public = {"PUBLIC_URL": self._url(port)} if self._modal else {}
        with self._log.open("wb") as log:
            child = start(
                ("service.cli.main", "serve", *arguments), log=log, environment={**environment, **public}
            )
        try:
            yield child
        finally:
            stop(child)

    def _wait_until_ready(self, child: subprocess.Popen[bytes], client: Client) -> None:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not client.is_ready():
            status = child.poll()
            if status is not None or time.monotonic() > deadline:
                self._show_log()
                problem = "did not become ready" if status is None else f"stopped with status {status}"
                raise FramehookError(f"the service {problem}")
            time.sleep(POLL_SECONDS)

    def _url(self, port: int) -> str:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._settings.host, self._settings.host)  # noqa: S104 - compared
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def _step(self, sentence: str) -> None:
        self._console.print(Text.assemble(("> ", "bold cyan"), to_printable(sentence)), soft_wrap=True)

    def _show_log(self) -> None:
        lines = self._log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        for line in lines:
            print(f"  | {to_printable(line)}", file=sys.stderr)


def run_demo(
    *, once: bool, port: int | None, data_dir: Path | None, bearer: str | None, modal: bool
) -> NoReturn:
    """Run the demo and exit; it ends after the export if this is no terminal."""
    settings = load_settings_or_exit(port=find_free_port() if port == 0 else port, data_dir=data_dir)
    with exit_on_start_error():
        prepare_data_dir(settings.data_dir)
    if settings.auth_jwt_secret is not None:
        bearer = create_token(settings, DEMO_USER, hours=1)
    is_interactive = sys.stdin.isatty() and sys.stdout.isatty()
    status = Demo(settings, bearer, modal=modal).run(once=once or not is_interactive)
    if status == 0 and not (once or is_interactive):
        typer.echo(
            "> The service has stopped, because this is not a terminal; `framehook serve` keeps it running"
        )
    raise typer.Exit(status)


def _export_config(key: str) -> dict[str, object]:
    return {
        "input_key": key,
        "keyframes": sample_video.follow_ball(CROP_WIDTH),
        "output_width": OUTPUT_WIDTH,
        "output_height": sample_video.HEIGHT,
    }


def _address_family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def find_free_port(host: str = "127.0.0.1") -> int:
    """Return a port on which no program listens now."""
    with socket.create_server((host, 0), family=_address_family(host)) as listener:
        return int(listener.getsockname()[1])


def _is_free(host: str, port: int) -> bool:
    try:
        socket.create_server((host, port), family=_address_family(host)).close()
    except OSError:
        return False
    return True
