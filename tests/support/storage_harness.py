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
from tests.support.s3_server import Front


class Elsewhere(FakeRunner):
    """Runs that do not see this machine's files."""

    shares_filesystem = False


@dataclass
class Town:
    """The running service, and the user's first source in its storage."""

    street: LiveServer
    settings: Settings
    source: str

    async def spec(self) -> AttemptSpec:
        """A new export's attempt, as it was sent to be run."""
        config = {"input_key": self.source, **FRAMING}
        answer = await self.street.http.post("/api/exports", json={"type": "framing", "config": config})
        assert answer.status_code == 202, answer.text
        return await self.street.runner.next_spec()

    async def target(self) -> tuple[AttemptSpec, RemoteUpload]:
        """The same, and where its output goes."""
        spec = await self.spec()
        assert isinstance(spec.transfer.output, RemoteUpload)
        return spec, spec.transfer.output


@asynccontextmanager
async def town(settings: Settings) -> AsyncIterator[Town]:
    """The service, with a source of five bytes handed in."""
    async with serve_app(settings, Elsewhere()) as street:
        asked = {"filename": "match.mp4", "size": 5, "content_type": "video/mp4"}
        found = (await street.http.post("/api/uploads", json=asked)).json()
        assert (await street.http.put(found["url"], content=b"video", headers=found["headers"])).is_success
        yield Town(street, settings, found["key"])


async def with_bucket(front: Front, data_dir: Path, **more: Any) -> Settings:
    """Settings of a service with a new bucket of its own."""
    place = front.place()
    bucket = Bucket(place)
    await bucket.create()
    await bucket.close()
    return with_place(place, data_dir, **more)


def with_place(place: S3Config, data_dir: Path, **more: Any) -> Settings:
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


async def settings_of(kind: str, front: Front, data_dir: Path, **more: Any) -> Settings:
    """Settings with the folder or with a bucket."""
    if kind == "folder":
        return settings_on(free_port(), data_dir, **more)
    return await with_bucket(front, data_dir, **more)
