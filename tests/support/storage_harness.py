"""A running service with a folder or a bucket, whose runs do not see its files."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu.spec import AttemptSpec, RemoteUpload
from gpu.transfer.multipart import upload_file
from infra.storage.client import Bucket, S3Config
from service.settings import Settings
from tests.gpu.run_pipeline import run_to_end
from tests.support.app_harness import EXPORTED
from tests.support.fakes import FakeRun, FakeRunner
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

    async def submit_export(self, **config: object) -> AttemptSpec:
        """Create an export and return the attempt that the runner got."""
        config = {"input_key": self.source, **FRAMING, **config}
        response = await self.server.http.post("/api/exports", json={"type": "framing", "config": config})
        assert response.status_code == 202, response.text
        return await self.server.runner.next_spec()

    async def complete_export(self, folder: Path, content: bytes = EXPORTED, **config: object) -> str:
        """Run an export to its end with this output, written to the folder on the way, and return its id."""
        spec, target = await self.submit_with_target(**config)
        path = folder / "made.mp4"
        await asyncio.to_thread(path.write_bytes, content)
        await asyncio.to_thread(lambda: run_to_end(upload_file(path, target)))
        checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
        run = FakeRun(spec, self.server.http)
        answer = await run.report_completed(size=len(content), checksum=checksum)
        assert answer.status_code == 200, answer.text
        return spec.job_id

    async def submit_with_target(self, **config: object) -> tuple[AttemptSpec, RemoteUpload]:
        """Create an export and return its attempt and the target of its output."""
        spec = await self.submit_export(**config)
        assert isinstance(spec.transfer.output, RemoteUpload)
        return spec, spec.transfer.output


@asynccontextmanager
async def open_harness(
    settings: Settings, headers: dict[str, str] | None = None
) -> AsyncIterator[StorageHarness]:
    """Run the service and upload a source of five bytes; these headers are sent with every request."""
    async with serve_app(settings, RemoteRunner()) as server:
        server.http.headers.update(headers or {})
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
