"""What a replica runs, in a process that was forked from one with all of this imported already."""

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
from service.http_server.server import create_server
from service.settings import load_settings
from service.startup.logging_setup import configure_logging
from tests.support.fakes import FakeRunner

IMPORTED_LATE = (aiosqlite, asyncpg, uvicorn)
"""What the service imports when it starts: here it is imported before the fork."""

PLACES = 100
REPLICA_CLOCK = "tests.faults.cluster.replica_clock"


@dataclass(frozen=True)
class Start:
    """Everything that a new process would be given; `program` names the function that it runs."""

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
    """Let the time of day be what the suite says; only the process that replicas are forked from has imported this."""
    if (replica_clock := sys.modules.get(REPLICA_CLOCK)) is not None:
        replica_clock.follow_setting()
        vars(jwt.api_jwt)["datetime"] = replica_clock.MovedDatetime


def serve(words: list[str]) -> None:
    """`framehook serve`."""
    sys.argv = ["framehook", *words]
    main.app(words)


def serve_for_told_runs(words: list[str]) -> None:
    """The same, with a runner that starts nothing: whoever asked for an export tells of its run as well."""
    _serve, _host, host, _port, port = words
    settings = load_settings(host=host, port=int(port))
    configure_logging(settings.log_format)
    create_server(create_app(settings, FakeRunner(places=PLACES)), settings.host, settings.port).run()
