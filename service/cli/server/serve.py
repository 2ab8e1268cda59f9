"""The commands that run the service: serve, demo."""

import logging
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated

import typer

from infra.database.postgresql import is_postgresql
from infra.lock import hold_lock
from service.app import create_app
from service.cli.options import DataDir, Host, Port, Token
from service.cli.server.demo import Demo, find_free_port
from service.cli.server.tokens import create_token
from service.factories import create_http_limits
from service.http_server.listening import open_sockets
from service.http_server.server import create_server
from service.settings import Settings
from service.startup.commands import (
    exit_on_start_error,
    load_settings_or_exit,
    read_settings,
    warn_of_misspellings,
)
from service.startup.errors import as_start_errors, prepare_data_dir
from service.startup.logging_setup import configure_logging

DEMO_USER = "demo"

logger = logging.getLogger("framehook")


def serve(host: Host = None, port: Port = None, data_dir: DataDir = None) -> None:
    """Run the service until SIGTERM or Ctrl-C.

    Settings are read from environment variables and from `.env` in the current folder.
    """
    with exit_on_start_error():
        settings = read_settings(host=host, port=port, data_dir=data_dir)
        configure_logging(settings.log_format)
        warn_of_misspellings()
        with as_start_errors(settings):
            prepare_data_dir(settings.data_dir)
            with _lock_data_folder(settings):
                run_service(settings)


def run_service(settings: Settings) -> None:
    """Serve until a signal; raises what prevents the start."""
    sockets = open_sockets(settings.host, settings.port)
    if settings.metrics_port is not None:
        sockets += open_sockets(settings.host, settings.metrics_port, "METRICS_PORT")
    logger.info("serving on %s, data in %s", settings.origin, settings.data_dir)
    app = create_app(settings)
    create_server(app, settings.host, settings.port, create_http_limits(settings)).run(sockets=sockets)


def _lock_data_folder(settings: Settings) -> AbstractContextManager[None]:
    """Lock the data folder if the database is SQLite.

    Of two services on one folder, each would take the other's runs for lost.
    """
    if settings.database_url is not None and is_postgresql(settings.database_url):
        return nullcontext()
    return hold_lock(settings.data_dir / "service.lock")


def demo(
    once: Annotated[bool, typer.Option("--once", help="Stop the service after the export.")] = False,
    port: Annotated[
        int | None,
        typer.Option(
            metavar="PORT",
            help="Port to listen on; a free one if it is in use, or 0.  [env var: PORT; default: 8000]",
        ),
    ] = None,
    data_dir: DataDir = None,
    bearer: Token = None,
    modal: Annotated[
        bool,
        typer.Option("--modal", help="Run the export with the Modal SDK, on an emulator on this machine."),
    ] = False,
) -> None:
    """Start the service and export a sample video.

    The service then runs until Ctrl-C; if standard input or output is not a terminal, it stops.
    """
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
