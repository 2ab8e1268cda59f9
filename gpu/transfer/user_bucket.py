"""Access a bucket with the Modal app's secret, for callers without presigned URLs.

It reads R2_ENDPOINT_URL, R2_ACCESS_KEY_ID, R2_SECRET_ACCESS_KEY and R2_BUCKET_NAME. The service does not use it: its
runs have no credentials.
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
_VARIABLES = ("R2_ENDPOINT_URL", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY", "R2_BUCKET_NAME")


class UserBucket:
    """One user's part of the bucket: every key is below `{user}/`."""

    def __init__(self, user_id: str) -> None:
        missing = [name for name in _VARIABLES if not os.environ.get(name)]
        if missing:
            raise ExportError(
                "bucket_secret_missing",
                f"The call has no transfer, and the secret lacks {', '.join(missing)}.",
            )
        self._prefix = validate_key(user_id)
        self._bucket = os.environ["R2_BUCKET_NAME"]
        endpoint = os.environ["R2_ENDPOINT_URL"]
        region = _amazon_region(endpoint)
        self._client: Any = boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id=os.environ["R2_ACCESS_KEY_ID"],
            aws_secret_access_key=os.environ["R2_SECRET_ACCESS_KEY"],
            region_name=region or "auto",
            config=Config(
                signature_version="s3v4",
                retries={"max_attempts": 5, "mode": "standard"},
                s3={"addressing_style": "auto" if region else "path"},
                # R2 rejects the trailers in which boto3 would send its own checksum.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def create_transfer(self, config: ExportConfig, path: Path) -> Transfer:
        """Return a transfer that reads sources by presigned GET and writes the output to a file.

        `store` uploads that file.
        """
        sources = {key: RemoteObject(url=self._presign_get(key)) for key in config.input_keys}
        return Transfer(sources=dict(sources), output=LocalFile(path=str(path)))

    def store(self, path: Path, output_key: str, checksum: str, content_type: str) -> None:
        """Upload the file in parts and verify what arrived.

        Raises ExportError.
        """
        key, metadata = self._object_name(output_key), {"sha256": checksum.partition(":")[2]}
        try:
            self._client.upload_file(
                str(path),
                self._bucket,
                key,
                ExtraArgs={"ContentType": content_type, "Metadata": metadata},
            )
            stored = self._client.head_object(Bucket=self._bucket, Key=key)
        except (ClientError, BotoCoreError, boto3.exceptions.S3UploadFailedError) as error:
            raise ExportError(
                "output_unwritable", "The export could not be stored.", transient=True
            ) from error
        if (stored["ContentLength"], stored["Metadata"]) != (path.stat().st_size, metadata):
            raise ExportError("output_unwritable", "The stored export is incomplete.", transient=True)

    def _presign_get(self, key: str) -> str:
        arguments = {"Bucket": self._bucket, "Key": self._object_name(key)}
        return str(self._client.generate_presigned_url("get_object", Params=arguments, ExpiresIn=URL_SECONDS))

    def _object_name(self, key: str) -> str:
        return f"{self._prefix}/{validate_key(key)}"


def _amazon_region(endpoint: str) -> str | None:
    """Return the region in an Amazon host (s3.eu-west-1.amazonaws.com); None for others."""
    host = urlsplit(endpoint).hostname or ""
    if not host.endswith(".amazonaws.com"):
        return None
    return next((label for label in host.split(".") if label.count("-") >= 2), "us-east-1")  # noqa: PLR2004
