"""The commands of an operator: token, db, bucket, modal."""

import asyncio
import time
from typing import TYPE_CHECKING, Annotated

import jwt
import typer

from infra.database.postgresql import is_postgresql
from infra.database.sqlite import sqlite_path, sqlite_url
from infra.storage import StorageError
from service import schema
from service.cli.errors import FAILED_STATUS, exit_with, print_errors
from service.cli.modal_deploy import check_deployment, deploy
from service.cli.options import command_group, examples
from service.factories import bucket_config
from service.settings import Settings
from service.startup.commands import exit_on_start_error, load_settings_or_exit
from service.startup.errors import CONFIGURATION_STATUS, as_start_errors, prepare_data_dir

if TYPE_CHECKING:
    from infra.storage.bucket_setup import BucketConfig
    from infra.storage.client import S3Config

Origins = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ORIGIN",
        help="Origin of web pages that upload and play; repeat for several."
        "  [env var: ALLOWED_ORIGINS; default: PUBLIC_URL and ALLOWED_ORIGINS]",
        show_default=False,
    ),
]
UploadDays = Annotated[
    int | None,
    typer.Option(metavar="DAYS", min=1, help="Delete uploads after so many days.  [default: they are kept]"),
]
Users = Annotated[
    list[str] | None,
    typer.Option(
        metavar="USER",
        help="User whose uploads are deleted; repeat for several.  [default: local]",
        show_default=False,
    ),
]

database = command_group("Manage the database.")
buckets = command_group("Manage the bucket.")
modal_app = command_group("Manage the Modal app.")


def add_commands(app: typer.Typer) -> None:
    """Add `token` and the groups `db`, `bucket` and `modal` to the command line."""
    app.command(epilog=examples("framehook token alice --hours 1"))(token)
    app.add_typer(database, name="db")
    app.add_typer(buckets, name="bucket")
    app.add_typer(modal_app, name="modal")


def token(
    user: Annotated[str, typer.Argument(metavar="USER", help="The user's id, which becomes `sub`.")],
    hours: Annotated[
        float, typer.Option(metavar="HOURS", min=0.01, max=24 * 366, help="How long the token is valid.")
    ] = 24.0,
) -> None:
    """Print a bearer token for a user, signed with AUTH_JWT_SECRET."""
    settings = load_settings_or_exit()
    if settings.auth_jwt_secret is None:
        exit_with(
            CONFIGURATION_STATUS, "AUTH_JWT_SECRET is not set; set it to the value that the service uses"
        )
    typer.echo(create_token(settings, user, hours))


def create_token(settings: Settings, user: str, hours: float) -> str:
    """Create a token that a service with these settings accepts."""
    assert settings.auth_jwt_secret is not None
    claims = {"sub": user, "exp": int(time.time() + hours * 3600)}
    claims |= {"aud": settings.auth_audience} if settings.auth_audience else {}
    claims |= {"iss": settings.auth_issuer} if settings.auth_issuer else {}
    return jwt.encode(claims, settings.auth_jwt_secret.get_secret_value(), "HS256")


@database.command(epilog=examples("framehook db upgrade"))
def upgrade() -> None:
    """Upgrade the database of DATABASE_URL to the newest schema.

    SQLite is upgraded when the service starts; PostgreSQL needs this command before each new release.
    """
    settings = load_settings_or_exit()
    with exit_on_start_error(), as_start_errors(settings):
        prepare_data_dir(settings.data_dir)
        url = settings.database_url or sqlite_url(settings.data_dir / "framehook.db")
        schema.upgrade(url)
    name = "" if is_postgresql(url) else f" {sqlite_path(url)}"
    typer.echo(f"The database{name} is up to date.")


@buckets.command(
    "prepare",
    epilog=examples(
        "framehook bucket prepare",
        "framehook bucket prepare --origin https://app.example.org --upload-days 30",
    ),
)
def prepare_bucket(origin: Origins = None, upload_days: UploadDays = None, user: Users = None) -> None:
    """Create and configure the bucket of R2_BUCKET_NAME.

    Creates it if it is missing, sets CORS and lifecycle rules, and writes, reads and deletes a test object. Can be
    repeated: what is right already stays as it is.
    """
    settings = load_settings_or_exit()
    config = bucket_config(settings)
    if config is None:
        exit_with(
            CONFIGURATION_STATUS,
            "R2_BUCKET_NAME is not set, so files are kept in the data folder; "
            "set the four R2_… settings to use a bucket",
        )
    from infra.storage.bucket_setup import BucketConfig

    pages = ([settings.origin] if settings.public_url else []) + list(settings.allowed_origins)
    desired = BucketConfig(origins=origin or pages, upload_days=upload_days, users=user or ["local"])
    try:
        asyncio.run(_prepare_bucket(config, desired))
    except StorageError as error:
        exit_with(FAILED_STATUS, str(error))


async def _prepare_bucket(config: "S3Config", desired: "BucketConfig") -> None:
    from infra.storage.bucket_setup import set_up_bucket
    from infra.storage.client import Bucket

    bucket = Bucket(config)
    try:
        async for step in set_up_bucket(bucket, desired):
            typer.echo(step.sentence)
    finally:
        await bucket.close()


@modal_app.command(
    "deploy", epilog=examples("framehook modal deploy", "MODAL_GPU=A10G framehook modal deploy")
)
def modal_deploy() -> None:
    """Deploy the Modal functions that run exports, and check them.

    Reads MODAL_TOKEN_ID and MODAL_TOKEN_SECRET (or what `modal token new` stored), MODAL_APP_NAME and MODAL_GPU.
    """
    settings = load_settings_or_exit()
    with print_errors():
        deploy(settings)
        check_deployment(settings)
    typer.echo(f"The app {settings.modal_app_name!r} is deployed and ready for MODAL_ENABLED=true.")
