"""A running service with a bucket, or without one, whose runs do not see its files."""

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
    """Runs that do not see this machine's files."""

    shares_filesystem = False


@dataclass
class StorageHarness:
    """The running service, and the user's first source in its storage."""

    server: LiveServer
    settings: Settings
    source: str

    async def submit_export(self) -> AttemptSpec:
        """A new export's attempt, as it was sent to be run."""
        config = {"input_key": self.source, **FRAMING}
        answer = await self.server.http.post("/api/exports", json={"type": "framing", "config": config})
        assert answer.status_code == 202, answer.text
        return await self.server.runner.next_spec()

    async def submit_with_target(self) -> tuple[AttemptSpec, RemoteUpload]:
        """The same, and where its output goes."""
        spec = await self.submit_export()
        assert isinstance(spec.transfer.output, RemoteUpload)
        return spec, spec.transfer.output


@asynccontextmanager
async def open_harness(settings: Settings) -> AsyncIterator[StorageHarness]:
    """The service, with a source of five bytes handed in."""
    async with serve_app(settings, RemoteRunner()) as server:
        asked = {"filename": "match.mp4", "size": 5, "content_type": "video/mp4"}
        found = (await server.http.post("/api/uploads", json=asked)).json()
        assert (await server.http.put(found["url"], content=b"video", headers=found["headers"])).is_success
        yield StorageHarness(server, settings, found["key"])


async def settings_with_bucket(s3_server: S3Server, data_dir: Path, **more: Any) -> Settings:
    """Settings of a service with a new bucket of its own."""
    place = s3_server.client_config()
    bucket = Bucket(place)
    await bucket.create()
    await bucket.close()
    return settings_with_config(place, data_dir, **more)


def settings_with_config(place: S3Config, data_dir: Path, **more: Any) -> Settings:
    """Settings of a service whose bucket may not be there."""
    return settings_on(
        free_port(),
        data_dir,
        r2_endpoint_url=place.endpoint_url,
        r2_access_key_id=place.access_key_id,
        r2_secret_access_key=place.secret_access_key,
        r2_bucket_name=place.bucket,
        **more,
    )


async def settings_for_storage(kind: str, s3_server: S3Server, data_dir: Path, **more: Any) -> Settings:
    """Settings with the folder or with a bucket."""
    if kind == "folder":
        return settings_on(free_port(), data_dir, **more)
    return await settings_with_bucket(s3_server, data_dir, **more)
