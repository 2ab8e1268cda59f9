"""For callers that bring no presigned URLs: the bucket itself, by the secret that the Modal app was given.

Reads R2_ENDPOINT_URL, R2_ACCESS_KEY_ID, R2_SECRET_ACCESS_KEY and R2_BUCKET_NAME. The service never comes here: its runs
hold no credentials.
"""

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

from gpu.config import ExportConfig
from gpu.errors import ExportError
from gpu.keys import validate_key
from gpu.spec import LocalFile, RemoteObject, Transfer

URL_SECONDS = 24 * 3_600
_NAMES = ("R2_ENDPOINT_URL", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY", "R2_BUCKET_NAME")


class UserBucket:
    """One user's part of the bucket: every key lies under `{user}/`."""

    def __init__(self, user_id: str) -> None:
        missing = [name for name in _NAMES if not os.environ.get(name)]
        if missing:
            raise ExportError(
                "bucket_secret_missing", f"No transfer was given, and {', '.join(missing)} is not set."
            )
        self._prefix = validate_key(user_id)
        self._bucket = os.environ["R2_BUCKET_NAME"]
        place = os.environ["R2_ENDPOINT_URL"]
        region = _amazon_region(place)
        self._client: Any = boto3.client(
            "s3",
            endpoint_url=place,
            aws_access_key_id=os.environ["R2_ACCESS_KEY_ID"],
            aws_secret_access_key=os.environ["R2_SECRET_ACCESS_KEY"],
            region_name=region or "auto",
            config=Config(
                signature_version="s3v4",
                retries={"max_attempts": 5, "mode": "standard"},
                s3={"addressing_style": "auto" if region else "path"},
                # R2 does not take the trailers in which boto3 would send a checksum of its own.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def transfer(self, config: ExportConfig, made: Path) -> Transfer:
        """The sources by presigned GET; the output goes into a file, from where `store` takes it."""
        sources = {key: RemoteObject(url=self._readable(key)) for key in config.input_keys}
        return Transfer(sources=dict(sources), output=LocalFile(path=str(made)))

    def store(self, made: Path, output_key: str, checksum: str, content_type: str) -> None:
        """Send the file in parts, and see that it arrived whole; raises ExportError."""
        key, stated = self._name(output_key), {"sha256": checksum.partition(":")[2]}
        try:
            self._client.upload_file(
                str(made),
                self._bucket,
                key,
                ExtraArgs={"ContentType": content_type, "Metadata": stated},
            )
            found = self._client.head_object(Bucket=self._bucket, Key=key)
        except (ClientError, BotoCoreError, boto3.exceptions.S3UploadFailedError) as error:
            raise ExportError(
                "output_unwritable", "The export could not be stored.", transient=True
            ) from error
        if (found["ContentLength"], found["Metadata"]) != (made.stat().st_size, stated):
            raise ExportError("output_unwritable", "The export did not arrive whole.", transient=True)

    def _readable(self, key: str) -> str:
        arguments = {"Bucket": self._bucket, "Key": self._name(key)}
        return str(self._client.generate_presigned_url("get_object", Params=arguments, ExpiresIn=URL_SECONDS))

    def _name(self, key: str) -> str:
        return f"{self._prefix}/{validate_key(key)}"


def _amazon_region(place: str) -> str | None:
    """The region in the name of one of Amazon's hosts (s3.eu-west-1.amazonaws.com); None elsewhere."""
    host = urlsplit(place).hostname or ""
    if not host.endswith(".amazonaws.com"):
        return None
    return next((label for label in host.split(".") if label.count("-") >= 2), "us-east-1")  # noqa: PLR2004
