"""The command line."""

import asyncio
import logging
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import jwt
import typer

from infra.database.postgresql import is_postgresql
from infra.database.sqlite import sqlite_path, sqlite_url
from infra.lock import hold_lock
from infra.storage import StorageError
from service import schema
from service.app import create_app
from service.cli import exports
from service.cli.demo import Demo, find_free_port
from service.cli.modal_deploy import check_deployment, deploy
from service.cli.webhooks import webhooks
from service.factories import bucket_config, create_http_limits
from service.http_server.listening import open_sockets
from service.http_server.server import create_server
from service.settings import Settings
from service.startup.commands import (
    exit_on_start_error,
    load_settings_or_exit,
    read_settings,
    warn_of_misspellings,
)
from service.startup.errors import CONFIGURATION_STATUS, as_start_errors, prepare_data_dir
from service.startup.logging_setup import configure_logging

if TYPE_CHECKING:
    from infra.storage.bucket_setup import Wishes
    from infra.storage.client import S3Place

DEMO_USER = "demo"

logger = logging.getLogger("framehook")

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def every() -> None:
    """Framehook: video exports that report back."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a sign gets a question mark


app.command()(exports.export)
app.command()(exports.watch)
app.command("list")(exports.list_)
app.command()(exports.cancel)
app.command()(exports.retry)

app.add_typer(webhooks, name="webhooks")
modal_app = typer.Typer(no_args_is_help=True, help="Look after the Modal app.")
app.add_typer(modal_app, name="modal")
database = typer.Typer(no_args_is_help=True, help="Look after the database.")
app.add_typer(database, name="db")


buckets = typer.Typer(no_args_is_help=True, help="Look after the bucket.")
app.add_typer(buckets, name="bucket")


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on (HOST).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (PORT).")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where database and files are kept (DATA_DIR).")
    ] = None,
) -> None:
    """Run the service until it is told to stop."""
    with exit_on_start_error():
        settings = read_settings(host=host, port=port, data_dir=data_dir)
        configure_logging(settings.log_format)
        warn_of_misspellings()
        with as_start_errors(settings):
            prepare_data_dir(settings.data_dir)
            with _alone(settings):
                run_service(settings)


def run_service(settings: Settings) -> None:
    """Serve until a signal; raises what keeps it from starting."""
    sockets = open_sockets(settings.host, settings.port)
    logger.info("serving on %s, data in %s", settings.origin, settings.data_dir)
    app = create_app(settings)
    create_server(app, settings.host, settings.port, create_http_limits(settings)).run(sockets=sockets)


def _alone(settings: Settings) -> AbstractContextManager[None]:
    """On SQLite the data folder belongs to one service: two would take each other's runs for lost ones."""
    if settings.database_url is not None and is_postgresql(settings.database_url):
        return nullcontext()
    return hold_lock(settings.data_dir / "service.lock")


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="End after the export.")] = False,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on (PORT); a free one if it is taken, or 0.")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where database and files are kept (DATA_DIR).")
    ] = None,
    bearer: exports.Token = None,
    modal: Annotated[
        bool, typer.Option("--modal", help="Run the export on Modal's own SDK, against a control plane here.")
    ] = False,
) -> None:
    """Start the service, export a video that is made for it, and go on until Ctrl-C; without a terminal, end."""
    settings = load_settings_or_exit(port=find_free_port() if port == 0 else port, data_dir=data_dir)
    with exit_on_start_error():
        prepare_data_dir(settings.data_dir)
    if settings.auth_jwt_secret is not None:
        bearer = create_token(settings, DEMO_USER, hours=1)
    attended = sys.stdin.isatty() and sys.stdout.isatty()
    status = Demo(settings, bearer, modal=modal).run(once=once or not attended)
    if status == 0 and not (once or attended):
        typer.echo("> The service has ended, as this is not a terminal; `framehook serve` keeps it running")
    raise typer.Exit(status)


@modal_app.command("deploy")
def modal_deploy() -> None:
    """Deploy the functions that exports run in, as MODAL_APP_NAME on MODAL_GPU, and see that they are there."""
    settings = load_settings_or_exit()
    with exports.print_errors():
        deploy(settings)
        check_deployment(settings)
    typer.echo(f"The app {settings.modal_app_name!r} is deployed and ready for MODAL_ENABLED=true.")


@app.command()
def token(
    user: Annotated[str, typer.Argument(help="The user id, which becomes the token's `sub`.")],
    hours: Annotated[float, typer.Option(min=0.01, max=24 * 366, help="How long it is valid.")] = 24.0,
) -> None:
    """Print a bearer token for a user, signed with AUTH_JWT_SECRET."""
    settings = load_settings_or_exit()
    if settings.auth_jwt_secret is None:
        typer.echo(
            "framehook: AUTH_JWT_SECRET is not set; set it to the secret that the service has", err=True
        )
        raise typer.Exit(CONFIGURATION_STATUS)
    typer.echo(create_token(settings, user, hours))


@database.command()
def upgrade() -> None:
    """Bring the database to the newest schema."""
    settings = load_settings_or_exit()
    with exit_on_start_error(), as_start_errors(settings):
        prepare_data_dir(settings.data_dir)
        url = settings.database_url or sqlite_url(settings.data_dir / "framehook.db")
        schema.upgrade(url)
    name = "" if is_postgresql(url) else f" {sqlite_path(url)}"
    typer.echo(f"The database{name} is up to date.")


@buckets.command("prepare")
def prepare_bucket(
    origin: Annotated[
        list[str] | None,
        typer.Option(help="Origin of pages that upload and play; may be repeated. (ALLOWED_ORIGINS)"),
    ] = None,
    upload_days: Annotated[
        int | None,
        typer.Option(min=1, help="Remove uploads this many days after they came; unset keeps them."),
    ] = None,
    user: Annotated[
        list[str] | None,
        typer.Option(help="Whose uploads are removed; may be repeated.", show_default="local"),
    ] = None,
) -> None:
    """Make the bucket of R2_BUCKET_NAME, open it to pages, have it tidied, and try it out; safe to repeat."""
    settings = load_settings_or_exit()
    place = bucket_config(settings)
    if place is None:
        typer.echo(
            "framehook: R2_BUCKET_NAME is not set, so files are kept in the data folder; "
            "set the four R2_… settings to use a bucket",
            err=True,
        )
        raise typer.Exit(CONFIGURATION_STATUS)
    from infra.storage.bucket_setup import Wishes

    pages = ([settings.origin] if settings.public_url else []) + list(settings.allowed_origins)
    wishes = Wishes(origins=origin or pages, upload_days=upload_days, users=user or ["local"])
    try:
        asyncio.run(_prepare(place, wishes))
    except StorageError as error:
        typer.echo(f"framehook: {error}", err=True)
        raise typer.Exit(1) from None


async def _prepare(place: "S3Place", wishes: "Wishes") -> None:
    from infra.storage.bucket_setup import prepare
    from infra.storage.client import Bucket

    bucket = Bucket(place)
    try:
        async for done in prepare(bucket, wishes):
            typer.echo(done.sentence)
    finally:
        await bucket.close()


def create_token(settings: Settings, user: str, hours: float) -> str:
    """A token that the service with these settings accepts."""
    assert settings.auth_jwt_secret is not None
    claims = {"sub": user, "exp": int(time.time() + hours * 3600)}
    claims |= {"aud": settings.auth_audience} if settings.auth_audience else {}
    claims |= {"iss": settings.auth_issuer} if settings.auth_issuer else {}
    return jwt.encode(claims, settings.auth_jwt_secret.get_secret_value(), "HS256")


if __name__ == "__main__":
    app()
