"""The commands on the bucket: `framehook bucket …`."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from infra.storage import StorageError
from service.cli.errors import FAILED_STATUS, exit_with
from service.cli.options import command_group, examples
from service.factories import bucket_config
from service.startup.commands import load_settings_or_exit
from service.startup.errors import CONFIGURATION_STATUS

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

buckets = command_group("Manage the bucket.")


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
