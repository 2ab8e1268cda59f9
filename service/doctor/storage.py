"""The storage: can it be reached, and does it do what pages and runs need?"""

import os
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING

from infra.storage import BucketNotFound, StorageError, StorageUnavailable
from service.doctor.clock import compare_clocks
from service.startup.findings import Finding, Level, fail, ok, warn

if TYPE_CHECKING:
    from infra.storage.client import Bucket, S3Config

DATE_ROUNDING_SECONDS = 0.5
"""The header `Date` has whole seconds."""


async def check_bucket_access(config: "S3Config") -> Finding:
    """Check that the bucket exists and takes the key, with a single request."""
    async with _open_bucket(config) as bucket:
        return await _check_access(bucket)


def examine_folder(data_dir: Path) -> Finding:
    """Write a file to the data folder, read a part of it, and delete it; raises OSError."""
    folder = data_dir / "incoming"
    if not folder.is_dir():
        return ok("storage", f"{data_dir} gets its folders at the first start")
    probe = folder / f"{uuid.uuid4().hex}.probe"
    content = os.urandom(64)
    try:
        probe.write_bytes(content)
        with probe.open("rb") as file:
            file.seek(16)
            part = file.read(8)
    finally:
        probe.unlink(missing_ok=True)
    if part != content[16:24]:
        return fail(
            "storage", f"DATA_DIR: {data_dir} returns other bytes than were written; use another disk"
        )
    return ok("storage", f"{data_dir} takes, returns and deletes files")


async def examine_bucket(
    config: "S3Config", origins: Sequence[str], now: Callable[[], float]
) -> list[Finding]:
    """Write, read and delete an object, compare the clock, and look at the rules; raises StorageError."""
    from infra.storage.bucket_setup import list_missing_rules, try_bucket

    async with _open_bucket(config) as bucket:
        access = await _check_access(bucket)
        if access.level is not Level.OK:
            return [access]
        date = await try_bucket(bucket)
        here = now()
        missing = await list_missing_rules(bucket, origins)
    findings = [ok("storage", f"the bucket {config.bucket} takes, returns in parts and deletes objects")]
    if date:
        there = parsedate_to_datetime(date).timestamp()
        findings.append(compare_clocks("the storage", here=here, there=there + DATE_ROUNDING_SECONDS))
    rules = [warn("storage rules", f"{sentence}; run framehook bucket prepare") for sentence in missing]
    return [*findings, *(rules or [ok("storage rules", "pages may upload, and remains are deleted")])]


@asynccontextmanager
async def _open_bucket(config: "S3Config") -> "AsyncIterator[Bucket]":
    from infra.storage.client import Bucket  # importing boto3 takes half a second

    bucket = Bucket(config, attempts=1, threads=1)
    try:
        yield bucket
    finally:
        await bucket.close()


async def _check_access(bucket: "Bucket") -> Finding:
    from infra.storage.client import ObjectNotFound

    try:
        await bucket.call("head_bucket")
    except (BucketNotFound, ObjectNotFound):
        return fail(
            "storage", f"R2_BUCKET_NAME: there is no bucket {bucket.name}; run framehook bucket prepare"
        )
    except StorageUnavailable as error:
        return fail("storage", f"R2_ENDPOINT_URL: {error}; check the URL and the network", is_temporary=True)
    except StorageError as error:
        return fail(
            "storage", f"R2_ACCESS_KEY_ID: {error}; check key, secret, and the permissions of the key"
        )
    return ok("storage", f"the bucket {bucket.name} can be reached")
