"""The entry point of a replica, in a process forked from one that has imported the service."""

import os
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import aiosqlite
import asyncpg
import jwt.api_jwt
import uvicorn.lifespan.on
import uvicorn.loops.uvloop
import uvicorn.protocols.http.httptools_impl
import uvicorn.protocols.websockets.websockets_sansio_impl

from service.app import create_app
from service.cli import main
from service.cli.server import serve as serve_command
from service.cli.webhooks import listen as listen_command
from service.dispatch.runners import LocalRunner
from service.http_server.server import create_server
from service.settings import load_settings
from service.startup.logging_setup import configure_logging
from tests.support.fakes import FakeRunner, ThreadProber

IMPORTED_LATE = (aiosqlite, asyncpg, listen_command, serve_command, uvicorn)
"""What the commands import when they start: here it is imported before the fork."""

PLACES = 100
REPLICA_CLOCK = "tests.faults.cluster.replica_clock"


@dataclass(frozen=True)
class Start:
    """Everything that a new process gets; `program` names the function that it runs."""

    folder: Path
    log: Path
    environment: dict[str, str]
    words: tuple[str, ...]
    program: str


def run(start: Start) -> None:
    """Become the process that `start` describes."""
    with start.log.open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.chdir(start.folder)
    os.environ.clear()
    os.environ.update(start.environment)
    _set_clock()
    module, _, name = start.program.partition(":")
    getattr(import_module(module), name)(list(start.words))


def _set_clock() -> None:
    """Move the time of day; only the fork server of replicas has imported the moved clock."""
    if (replica_clock := sys.modules.get(REPLICA_CLOCK)) is not None:
        replica_clock.follow_setting()
        vars(jwt.api_jwt)["datetime"] = replica_clock.MovedDatetime


def serve(words: list[str]) -> None:
    """Run `framehook serve`; its runs cost what those with a GPU do."""
    LocalRunner.gpu = "L4"
    run_command(words)


def run_command(words: list[str]) -> None:
    """Run the command line `framehook …`."""
    sys.argv = ["framehook", *words]
    main.app(words)


def serve_without_runs(words: list[str]) -> None:
    """Run the service with a runner that starts nothing; the test reports for the runs."""
    _serve, _host, host, _port, port = words
    settings = load_settings(host=host, port=int(port))
    configure_logging(settings.log_format)
    app = create_app(settings, FakeRunner(slots=PLACES), source_prober=ThreadProber())
    create_server(app, settings.host, settings.port).run()
