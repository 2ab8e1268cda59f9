"""boto3 behind a door: one bucket, a bounded number of threads, bounded retries, and errors with a code each.

boto3 makes its methods at run time and brings no types, and the stubs for it weigh more than it is worth for the dozen
calls made here: this is the one module that sees it untyped.
"""

import asyncio
import base64
import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

import boto3  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

from infra.storage.base import (
    BucketNotFound,
    NoSuchUpload,
    StorageError,
    StorageForbidden,
    StorageUnavailable,
)

THREADS = 16
CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 60
CALL_SECONDS = 180.0
_UNNAMED_REGION = "us-east-1"
_SERVER_FAULT = 500
_TOO_MANY = 429
_RULES = ("PutBucketCors", "PutBucketLifecycleConfiguration")

_FORBIDDEN = frozenset(
    {
        "401", "403", "AccessDenied", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken",
        "InvalidToken", "Unauthorized", "AuthorizationHeaderMalformed", "RequestTimeTooSkewed",
    }
)  # fmt: skip
_BUSY = frozenset({"SlowDown", "Throttling", "ThrottlingException", "RequestTimeout", "TooManyRequests"})

Result = TypeVar("Result")


class ObjectNotFound(StorageError):
    """There is no such object."""


class BucketExists(StorageError):
    """The bucket is there, and ours."""


class PreconditionFailed(StorageError):
    """The object is another one by now."""


_MEANINGS: Mapping[str, Callable[[], Exception]] = {
    "NoSuchBucket": lambda: BucketNotFound("the bucket does not exist"),
    "NoSuchUpload": NoSuchUpload,
    "BucketAlreadyOwnedByYou": BucketExists,
    "BucketConflict": BucketExists,  # R2's word for it: names are an account's own there
    **dict.fromkeys(("NoSuchKey", "NotFound", "404"), ObjectNotFound),
    **dict.fromkeys(("PreconditionFailed", "412"), PreconditionFailed),
}


@dataclass(frozen=True)
class S3Config:
    """Where a bucket is, and the credentials for it."""

    endpoint_url: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    bucket: str


class Bucket:
    """Calls on one bucket, which raise StorageError or NoSuchUpload and nothing else."""

    def __init__(self, place: S3Config, *, attempts: int = 4, threads: int = THREADS) -> None:
        """`attempts` counts every try of a call, with growing, jittered pauses between them."""
        self.name = place.bucket
        self._client: Any = boto3.session.Session().client(
            "s3",
            endpoint_url=place.endpoint_url,
            aws_access_key_id=place.access_key_id,
            aws_secret_access_key=place.secret_access_key,
            region_name=_region(place.endpoint_url),
            config=Config(
                signature_version="s3v4",
                connect_timeout=CONNECT_TIMEOUT_SECONDS,
                read_timeout=READ_TIMEOUT_SECONDS,
                max_pool_connections=threads,
                retries={"mode": "standard", "total_max_attempts": attempts},
                s3={"addressing_style": "auto" if _on_aws(place.endpoint_url) else "path"},
                # Not every S3 takes the checksums that boto3 would add to each request.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
        for operation in _RULES:
            self._client.meta.events.register(f"before-call.s3.{operation}", _digest_by_md5)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="s3")

    async def call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """One operation of the S3 API, named as boto3 names it."""
        method = getattr(self._client, operation)
        answer: dict[str, Any] = await self.run(lambda: method(Bucket=self.name, **arguments))
        return answer

    async def create(self) -> None:
        """Make the bucket; one that is ours already stays as it is."""
        region = self._client.meta.region_name
        # Amazon's oldest region is the one that must not be named.
        where = {} if region == _UNNAMED_REGION else {"LocationConstraint": region}
        made = {"CreateBucketConfiguration": where} if where else {}
        with suppress(BucketExists):
            await self.call("create_bucket", **made)

    async def pages(self, operation: str, items: str, **arguments: Any) -> list[dict[str, Any]]:
        """All items of a listing."""
        paginator = self._client.get_paginator(operation)

        def gathered() -> list[dict[str, Any]]:
            pages = paginator.paginate(Bucket=self.name, **arguments)
            return [item for page in pages for item in page.get(items, [])]

        return await self.run(gathered)

    async def presign(self, operation: str, expires_seconds: int, **arguments: Any) -> str:
        """A URL for one operation; what is given of size and type is part of what is signed."""
        sign = self._client.generate_presigned_url
        arguments["Bucket"] = self.name
        url: str = await self.run(lambda: sign(operation, Params=arguments, ExpiresIn=expires_seconds))
        return url

    async def run(self, work: Callable[[], Result]) -> Result:
        """Something that calls S3, on a thread, with all of its retries in bounded time."""

        def guarded() -> Result:
            try:
                return work()
            except ClientError as error:
                raise _refused(error) from None
            except (BotoCoreError, OSError) as error:
                raise StorageUnavailable(f"the storage is out of reach: {type(error).__name__}") from None

        try:
            async with asyncio.timeout(CALL_SECONDS):
                return await asyncio.get_running_loop().run_in_executor(self._threads, guarded)
        except TimeoutError:  # the thread goes on until its own time-outs end it
            raise StorageUnavailable("the storage does not answer") from None

    async def close(self) -> None:
        """Wait for calls under way, and let go of connections."""
        await asyncio.to_thread(self._threads.shutdown)
        self._client.close()


def _refused(error: Any) -> Exception:
    """What S3 answered, as one of our errors; the texts that came with it may hold keys, and are dropped."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in _MEANINGS:
        return _MEANINGS[code]()
    if code in _FORBIDDEN:
        return StorageForbidden(f"the storage refused the credentials: {code}")
    if code in _BUSY or status >= _SERVER_FAULT or status == _TOO_MANY:
        return StorageUnavailable(f"the storage is busy: {code}")
    return StorageError(f"the storage refused {error.operation_name}: {code}")


def _digest_by_md5(params: dict[str, Any], **_: object) -> None:
    """Where S3 asks for a digest, send the one that every store knows.

    boto3 would send a CRC-32, and name it in a header that R2 does not implement for a bucket's rules.
    """
    params["context"].pop("checksum", None)
    digest = hashlib.md5(params["body"], usedforsecurity=False).digest()
    params["headers"]["Content-MD5"] = base64.b64encode(digest).decode()


def _on_aws(endpoint_url: str) -> bool:
    return (urlsplit(endpoint_url).hostname or "").endswith(".amazonaws.com")


def _region(endpoint_url: str) -> str:
    """R2 and most others call their region `auto`; Amazon's is in the name of the host (s3.eu-west-1.amazonaws.com)."""
    labels = (urlsplit(endpoint_url).hostname or "").split(".")
    if not _on_aws(endpoint_url):
        return "auto"
    return next((label for label in labels if label.count("-") >= 2), _UNNAMED_REGION)  # noqa: PLR2004
