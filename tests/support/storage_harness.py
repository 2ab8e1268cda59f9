"""A running service with a folder or a bucket, whose runs do not see its files."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu.spec import AttemptSpec, RemoteUpload
from infra.storage.client import Bucket, S3Config
from service.settings import Settings
from tests.support.fakes import FakeRunner
from tests.support.live_server import FRAMING, LiveServer, free_port, serve_app, settings_on
from tests.support.s3_server import S3Server


class RemoteRunner(FakeRunner):
    """A runner whose runs do not see this machine's files."""

    shares_filesystem = False


@dataclass
class StorageHarness:
    """The running service, and the key of a source in its storage."""

    server: LiveServer
    settings: Settings
    source: str

    async def submit_export(self) -> AttemptSpec:
        """Create an export and return the attempt that the runner got."""
        config = {"input_key": self.source, **FRAMING}
        response = await self.server.http.post("/api/exports", json={"type": "framing", "config": config})
        assert response.status_code == 202, response.text
        return await self.server.runner.next_spec()

    async def submit_with_target(self) -> tuple[AttemptSpec, RemoteUpload]:
        """Create an export and return its attempt and the target of its output."""
        spec = await self.submit_export()
        assert isinstance(spec.transfer.output, RemoteUpload)
        return spec, spec.transfer.output


@asynccontextmanager
async def open_harness(settings: Settings) -> AsyncIterator[StorageHarness]:
    """Run the service and upload a source of five bytes."""
    async with serve_app(settings, RemoteRunner()) as server:
        request = {"filename": "match.mp4", "size": 5, "content_type": "video/mp4"}
        upload = (await server.http.post("/api/uploads", json=request)).json()
        assert (await server.http.put(upload["url"], content=b"video", headers=upload["headers"])).is_success
        yield StorageHarness(server, settings, upload["key"])


async def settings_with_bucket(s3_server: S3Server, data_dir: Path, **changes: Any) -> Settings:
    """Create a bucket and return the settings of a service that uses it."""
    config = s3_server.client_config()
    bucket = Bucket(config)
    await bucket.create()
    await bucket.close()
    return settings_with_config(config, data_dir, **changes)


def settings_with_config(config: S3Config, data_dir: Path, **changes: Any) -> Settings:
    """Return the settings of a service whose bucket may be missing."""
    return settings_on(
        free_port(),
        data_dir,
        r2_endpoint_url=config.endpoint_url,
        r2_access_key_id=config.access_key_id,
        r2_secret_access_key=config.secret_access_key,
        r2_bucket_name=config.bucket,
        **changes,
    )


async def settings_for_storage(kind: str, s3_server: S3Server, data_dir: Path, **changes: Any) -> Settings:
    """Return the settings of a service with this kind of storage (`folder` or `s3`)."""
    if kind == "folder":
        return settings_on(free_port(), data_dir, **changes)
    return await settings_with_bucket(s3_server, data_dir, **changes)
