"""Kills of the service use up no attempt of an export: real processes, real video."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import delete_all_rows
from tests.faults.cluster.replicas import Replica, list_runs
from tests.support import videos

KILLS = 10
EXPORTS = 6
PATIENCE_SECONDS = 300
SETTINGS = {
    "ATTEMPT_LIMIT": "1",  # one counted attempt would end the export
    "LOCAL_WORKERS": "2",
    "SILENCE_SECONDS": "3",
    "LEASE_SECONDS": "5",  # on a busy machine a start takes longer than a second
    "FINALIZE_LEASE_SECONDS": "5",  # how long a replica that was killed keeps an output leased
    "WATCH_SECONDS": "0.2",
}
CONFIG = {
    "input_key": "clips/middle.mp4",
    "keyframes": [{"time": 0, "x": 0, "y": 0, "width": 32, "height": 32}],
    "quality": "draft",
}


class Cluster:
    """Replicas with one database and one data folder, and a client that uses any that responds."""

    def __init__(self, folder: Path, replicas: Sequence[Replica]) -> None:
        self.scratch = folder / "scratch"
        self.replicas = replicas
        self.http = httpx.AsyncClient(trust_env=False, timeout=10)

    async def start(self) -> None:
        for replica in self.replicas:
            replica.start()
        for replica in self.replicas:
            await replica.wait_ready(self.http)

    async def close(self) -> None:
        for replica in self.replicas:
            await asyncio.to_thread(replica.stop)
        await self.http.aclose()

    async def request(self, method: str, path: str, **options: Any) -> Any:
        """Return the response of the first replica that succeeds."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                for replica in self.replicas:
                    with suppress(httpx.HTTPError):
                        url = f"http://127.0.0.1:{replica.port}{path}"
                        answer = await self.http.request(method, url, **options)
                        if answer.is_success:
                            return answer.json()
                await asyncio.sleep(0.05)

    async def exports(self) -> list[dict[str, Any]]:
        jobs: list[dict[str, Any]] = (await self.request("GET", "/api/exports?limit=100"))["exports"]
        return jobs

    async def wait_for_run(self) -> None:
        """Wait until a run is active, unless all exports have ended."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not list_runs(self.scratch):
                if all(job["status"] not in ("pending", "processing") for job in await self.exports()):
                    return
                await asyncio.sleep(0.02)


@pytest.fixture(params=["sqlite", "postgresql"])
async def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cluster]:
    folder = tmp_path / "data"
    settings = {**SETTINGS, "DATA_DIR": str(folder)}
    if request.param == "postgresql":
        settings["DATABASE_URL"] = request.getfixturevalue("postgresql_url")
        await delete_all_rows(settings["DATABASE_URL"])
    count = 2 if request.param == "postgresql" else 1
    clips = folder / "objects" / "local" / "clips"
    clips.mkdir(parents=True)
    drawn = videos.dot(32, 32, width=64, height=64)
    videos.write_video(clips / "middle.mp4", videos.Video(lambda _: drawn, videos.frame_times(4)))
    cluster = Cluster(folder, [Replica(tmp_path, f"replica-{number}", settings) for number in range(count)])
    try:
        await cluster.start()
        yield cluster
    finally:
        await cluster.close()


async def test_ten_kills_of_the_service_end_no_export(cluster: Cluster) -> None:
    for _ in range(EXPORTS):
        await cluster.request("POST", "/api/exports", json={"type": "framing", "config": CONFIG})
    for replica in itertools.islice(itertools.cycle(cluster.replicas), KILLS):
        await cluster.wait_for_run()
        await asyncio.to_thread(replica.kill)
        replica.start()
        await replica.wait_ready(cluster.http)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while any(job["status"] in ("pending", "processing") for job in await cluster.exports()):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    exports = await cluster.exports()
    assert [(job["status"], job["error"]) for job in exports] == [("complete", None)] * EXPORTS
    assert max(job["attempt"] for job in exports) > 1
