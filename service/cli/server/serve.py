"""Run the service: `framehook serve`."""

import logging
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from infra.database.postgresql import is_postgresql
from infra.lock import hold_lock
from service.app import create_app
from service.composition.factories import create_http_limits
from service.http_server.listening import open_sockets
from service.http_server.server import create_server
from service.settings import Settings
from service.startup.authorities import check_authorities
from service.startup.commands import exit_on_start_error, read_settings, warn_of_settings
from service.startup.errors import as_start_errors, prepare_data_dir
from service.startup.logging_setup import configure_logging

logger = logging.getLogger("framehook")


def serve(host: str | None, port: int | None, data_dir: Path | None) -> None:
    """Serve until a signal; exit with a sentence if it can't start."""
    with exit_on_start_error():
        settings = read_settings(host=host, port=port, data_dir=data_dir)
        configure_logging(settings.log_format)
        warn_of_settings(settings)
        check_authorities()
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
