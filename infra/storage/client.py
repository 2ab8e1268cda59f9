"""Wrap boto3: one bucket, bounded threads and retries, typed errors.

boto3 creates its methods at run time and has no types; its stubs are too large for the dozen operations used here. So
this is the only module of the storage that calls it.
"""

import asyncio
import base64
import hashlib
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

import boto3  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

from infra.storage.errors import (
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
_DEFAULT_REGION = "us-east-1"
_SERVER_ERROR = 500
_TOO_MANY_REQUESTS = 429
_DIGEST_OPERATIONS = ("PutBucketCors", "PutBucketLifecycleConfiguration")

_FORBIDDEN = frozenset(
    {
        "401", "403", "AccessDenied", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken",
        "InvalidToken", "Unauthorized", "AuthorizationHeaderMalformed", "RequestTimeTooSkewed",
    }
)  # fmt: skip
_BUSY = frozenset({"SlowDown", "Throttling", "ThrottlingException", "RequestTimeout", "TooManyRequests"})

Result = TypeVar("Result")


class ObjectNotFound(StorageError):
    """The object does not exist."""


class BucketExists(StorageError):
    """The bucket exists and belongs to this account."""


class PreconditionFailed(StorageError):
    """The object has changed since it was read."""


_ERRORS: Mapping[str, Callable[[], Exception]] = {
    "NoSuchBucket": lambda: BucketNotFound("the bucket does not exist"),
    "NoSuchUpload": NoSuchUpload,
    "BucketAlreadyOwnedByYou": BucketExists,
    "BucketConflict": BucketExists,  # R2's code; bucket names are unique per account there
    **dict.fromkeys(("NoSuchKey", "NotFound", "404"), ObjectNotFound),
    **dict.fromkeys(("PreconditionFailed", "412"), PreconditionFailed),
}


@dataclass(frozen=True)
class S3Config:
    """The address of a bucket and the credentials for it."""

    endpoint_url: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    bucket: str


class Bucket:
    """Call the operations of S3 on one bucket; they raise StorageError or NoSuchUpload only."""

    def __init__(self, config: S3Config, *, attempts: int = 4, threads: int = THREADS) -> None:
        """Create a client that tries each call up to `attempts` times, with growing jittered pauses."""
        self.name = config.bucket
        self._client: Any = boto3.session.Session().client(
            "s3",
            endpoint_url=config.endpoint_url,
            aws_access_key_id=config.access_key_id,
            aws_secret_access_key=config.secret_access_key,
            region_name=_region_of(config.endpoint_url),
            verify=os.environ.get("SSL_CERT_FILE")
            or None,  # as httpx does; None trusts the public authorities
            config=Config(
                signature_version="s3v4",
                connect_timeout=CONNECT_TIMEOUT_SECONDS,
                read_timeout=READ_TIMEOUT_SECONDS,
                max_pool_connections=threads,
                retries={"mode": "standard", "total_max_attempts": attempts},
                s3={"addressing_style": "auto" if _is_on_aws(config.endpoint_url) else "path"},
                # Some stores reject the checksums that boto3 would add to each request.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
        for operation in _DIGEST_OPERATIONS:
            self._client.meta.events.register(f"before-call.s3.{operation}", _use_md5_digest)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="s3")

    async def call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """Call an operation by its name in boto3 and return the response."""
        method = getattr(self._client, operation)
        response: dict[str, Any] = await self.run(lambda: method(Bucket=self.name, **arguments))
        return response

    async def create(self) -> None:
        """Create the bucket unless it exists and belongs to this account."""
        region = self._client.meta.region_name
        # Amazon rejects the name of its default region here.
        location = {} if region == _DEFAULT_REGION else {"LocationConstraint": region}
        options = {"CreateBucketConfiguration": location} if location else {}
        with suppress(BucketExists):
            await self.call("create_bucket", **options)

    async def list_all(self, operation: str, items: str, **arguments: Any) -> list[dict[str, Any]]:
        """Return all items of a paginated listing."""
        paginator = self._client.get_paginator(operation)

        def collect_items() -> list[dict[str, Any]]:
            pages = paginator.paginate(Bucket=self.name, **arguments)
            return [item for page in pages for item in page.get(items, [])]

        return await self.run(collect_items)

    async def presign(self, operation: str, expires_seconds: int, **arguments: Any) -> str:
        """Sign a URL for one operation; a given size and content type are part of the signature."""
        sign = self._client.generate_presigned_url
        arguments["Bucket"] = self.name
        url: str = await self.run(lambda: sign(operation, Params=arguments, ExpiresIn=expires_seconds))
        return url

    async def run(self, work: Callable[[], Result]) -> Result:
        """Run a function that calls S3 on a thread and map its errors; limited to CALL_SECONDS."""

        def run_mapped() -> Result:
            try:
                return work()
            except ClientError as error:
                raise _map_error(error) from None
            except (BotoCoreError, OSError) as error:
                raise StorageUnavailable(f"the storage cannot be reached: {type(error).__name__}") from None

        try:
            async with asyncio.timeout(CALL_SECONDS):
                return await asyncio.get_running_loop().run_in_executor(self._threads, run_mapped)
        except TimeoutError:  # the thread continues until its own timeouts end it
            raise StorageUnavailable("the storage does not respond") from None

    async def close(self) -> None:
        """Wait for running calls and close the connections."""
        await asyncio.to_thread(self._threads.shutdown)
        self._client.close()


def _map_error(error: Any) -> Exception:
    """Convert an error response of S3; its text may contain keys and is dropped."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in _ERRORS:
        return _ERRORS[code]()
    if code in _FORBIDDEN:
        return StorageForbidden(f"the storage rejects the credentials: {code}")
    if code in _BUSY or status >= _SERVER_ERROR or status == _TOO_MANY_REQUESTS:
        return StorageUnavailable(f"the storage is busy: {code}")
    return StorageError(f"the storage rejects {error.operation_name}: {code}")


def _use_md5_digest(params: dict[str, Any], **_: object) -> None:
    """Send the digest of a request as Content-MD5, which every store supports.

    boto3 would send a CRC-32 in a header that R2 does not implement for CORS and lifecycle rules.
    """
    params["context"].pop("checksum", None)
    digest = hashlib.md5(params["body"], usedforsecurity=False).digest()
    params["headers"]["Content-MD5"] = base64.b64encode(digest).decode()


def _is_on_aws(endpoint_url: str) -> bool:
    return (urlsplit(endpoint_url).hostname or "").endswith(".amazonaws.com")


def _region_of(endpoint_url: str) -> str:
    """Return the region of an endpoint.

    Amazon's is part of the host name (s3.eu-west-1.amazonaws.com); R2 and most others call theirs `auto`.
    """
    labels = (urlsplit(endpoint_url).hostname or "").split(".")
    if not _is_on_aws(endpoint_url):
        return "auto"
    return next((label for label in labels if label.count("-") >= 2), _DEFAULT_REGION)  # noqa: PLR2004
