"""A minute after an erasure no byte of the video, its name or what was said of it is left."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from sqlalchemy import text

from gpu.spec import RemoteUpload
from gpu.transfer.multipart import upload_file
from infra.database.base import Database
from infra.database.factory import open_database
from infra.database.postgresql import asyncpg_dsn, is_postgresql
from infra.storage.client import Bucket
from service.composition.factories import bucket_config
from service.settings import Settings
from tests.conftest import delete_all_rows
from tests.gpu.run_pipeline import run_to_end
from tests.support.clocks import MovableClock
from tests.support.fakes import FakeRun
from tests.support.live_server import FRAMING, LiveServer, ScriptedResponse, serve_app, serve_script
from tests.support.s3_server import S3Server
from tests.support.small_mp4 import make_video
from tests.support.storage_harness import RemoteRunner, settings_for_storage

pytestmark = pytest.mark.anyio
NEEDLES = (b"Birthday of Grandma", b"frames of the party", b"customer-4711", b"cut of the party")
NAME, FRAMES, CUSTOMER, CUT = (needle.decode() for needle in NEEDLES)
SOURCE, OUTPUT = make_video(NEEDLES[1] * 9), make_video(NEEDLES[3] * 9)
UNSETTLED = "SELECT count(*) FROM erasures WHERE sweeps < 2"


@dataclass
class Place:
    """A running service, and everything in which it keeps something."""

    server: LiveServer
    settings: Settings
    bucket: Bucket | None

    async def find_needles(self) -> set[str]:
        """Return which needles are in which kind of place: the folder, the bucket, the tables."""
        places = {
            f"{path.name}: {needle.decode()}"
            for path in self.settings.data_dir.rglob("*")
            for needle in NEEDLES
            if needle in str(path).encode() or (path.is_file() and needle in path.read_bytes())
        }
        if self.bucket is not None:
            places |= {
                f"bucket: {needle.decode()}" for needle in NEEDLES if needle in await read_all(self.bucket)
            }
        if is_postgresql(str(self.settings.database_url)):
            tables = await dump_tables(str(self.settings.database_url))
            places |= {f"tables: {needle.decode()}" for needle in NEEDLES if needle.decode() in tables}
        return places


async def read_all(bucket: Bucket) -> bytes:
    """Return the names and the contents of all objects, and the names of all unfinished uploads."""
    text = str(await bucket.list_all("list_multipart_uploads", "Uploads")).encode()
    for item in await bucket.list_all("list_objects_v2", "Contents"):
        answer = await bucket.call("get_object", Key=item["Key"])
        text += item["Key"].encode() + str(answer["Metadata"]).encode() + answer["Body"].read()
    return text


async def dump_tables(url: str) -> str:
    """Return every row of every table as text."""
    connection = await asyncpg.connect(asyncpg_dsn(url))
    try:
        names = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return "".join([str(await connection.fetch(f'TABLE "{name}"')) for (name,) in names])
    finally:
        await connection.close()


@pytest.fixture(params=["folder", "s3"])
async def place(
    request: pytest.FixtureRequest,
    data_dir: Path,
    s3_server: S3Server,
    clock: MovableClock,
    database_url: str,
) -> AsyncIterator[Place]:
    settings = await settings_for_storage(
        request.param,
        s3_server,
        data_dir,
        database_url=database_url,
        webhook_allowed_networks=(ip_network("127.0.0.0/8"),),
        webhook_allow_http=True,
    )
    config = bucket_config(settings)
    bucket = Bucket(config) if config is not None else None
    async with serve_app(settings, RemoteRunner(), clock.clock) as server:
        yield Place(server, settings, bucket)
    if bucket is not None:
        await bucket.close()


@pytest.fixture(params=["sqlite", "postgresql"])
async def database_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(f"{request.param}_url")
    await delete_all_rows(url)
    return url


async def send_source(server: LiveServer) -> str:
    body = {"filename": f"{NAME}.mp4", "size": len(SOURCE), "content_type": "video/mp4"}
    target = (await server.http.post("/api/uploads", json=body)).json()
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.put(target["url"], content=SOURCE, headers=target["headers"])).is_success
    return str(target["key"])


async def start_export(server: LiveServer, key: str, **fields: object) -> FakeRun:
    body = {"type": "framing", "config": {"input_key": key, **FRAMING}, "project_id": CUSTOMER} | fields
    headers = {"idempotency-key": f"{CUSTOMER}-{len(fields)}"}
    answer = await server.http.post("/api/exports", json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    run = await server.next_run()
    await run.report_started()
    return run


async def send_output(run: FakeRun, folder: Path) -> dict[str, Any]:
    target = run.spec.transfer.output
    assert isinstance(target, RemoteUpload)
    path = folder / "output.mp4"
    await asyncio.to_thread(path.write_bytes, OUTPUT)
    await asyncio.to_thread(lambda: run_to_end(upload_file(path, target)))
    return {"size": len(OUTPUT), "checksum": f"sha256:{hashlib.sha256(OUTPUT).hexdigest()}"}


async def wait_for_sweeps(settings: Settings) -> None:
    """Wait until the second sweep of every erasure is recorded."""
    database = open_database(str(settings.database_url))
    try:
        async with asyncio.timeout(60):
            while await count_unsettled(database):  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0.2)
    finally:
        await database.close()


async def count_unsettled(database: Database) -> int:
    async with database.reading() as session:
        return int(await session.scalar(text(UNSETTLED)) or 0)


async def test_after_a_minute_no_byte_is_left(
    place: Place, clock: MovableClock, tmp_path_factory: Any
) -> None:
    server = place.server
    scratch = tmp_path_factory.mktemp("run")
    with serve_script(ScriptedResponse(200, body=NEEDLES[2])) as receiver:
        await server.http.post("/api/webhooks", json={"url": receiver.url})
        key = await send_source(server)
        metadata = {"customer": CUSTOMER}
        complete = await start_export(server, key, name=f"{NAME}, {CUT}", metadata=metadata)
        assert (await complete.report_completed(**await send_output(complete, scratch))).status_code == 200
        active = await start_export(server, key, webhook_url=receiver.url)
        await send_output(active, scratch)
        assert {needle.partition(": ")[2] for needle in await place.find_needles()} >= {NAME, FRAMES, CUT}
        for run in (complete, active):
            answer = await server.http.delete(f"/api/exports/{run.spec.job_id}?purge=true")
            assert answer.status_code == 204
        assert (await server.http.delete(f"/api/uploads/{key}")).status_code == 204
        clock.step_seconds = 31
        await wait_for_sweeps(place.settings)
        assert await place.find_needles() == set()
    if is_postgresql(str(place.settings.database_url)):
        assert await count_vacuums(str(place.settings.database_url)) > 0


async def count_vacuums(url: str) -> int:
    connection = await asyncpg.connect(asyncpg_dsn(url))
    try:
        query = "SELECT sum(vacuum_count) FROM pg_stat_user_tables WHERE relname = 'export_jobs'"
        async with asyncio.timeout(20):  # statistics come with a delay
            while not (count := await connection.fetchval(query)):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        return int(count)
    finally:
        await connection.close()
