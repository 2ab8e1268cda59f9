"""Create and configure the bucket: `framehook bucket prepare`."""

import asyncio
from typing import TYPE_CHECKING

import typer

from infra.storage import StorageError
from service.cli.errors import FAILED_STATUS, exit_with
from service.composition.factories import bucket_config
from service.startup.commands import load_settings_or_exit
from service.startup.statuses import CONFIGURATION_STATUS

if TYPE_CHECKING:
    from infra.storage.bucket_setup import BucketConfig
    from infra.storage.client import S3Config


def prepare_bucket(origins: list[str] | None, upload_days: int | None, users: list[str] | None) -> None:
    """Create and configure the bucket of the settings, and say what was done."""
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
    desired = BucketConfig(origins=origins or pages, upload_days=upload_days, users=users or ["local"])
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
