"""A deployed service and everything around it that can break: replicas, proxy, database, disk."""

import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import jwt

from infra.storage.disk_reserve import MIN_FREE_BYTES
from tests.faults.checkers.budget_checker import DAY_LIMIT_USD, USD_PER_SECOND, BudgetChecker
from tests.faults.checkers.callback_checker import CallbackChecker
from tests.faults.checkers.database_reader import DatabaseReader, PostgresSource, SqliteSource
from tests.faults.cluster.clock import FOREVER_SECONDS, Clock
from tests.faults.cluster.postgres import Postgres
from tests.faults.cluster.proxy import Proxy
from tests.faults.cluster.replicas import HERE, SERVE, Replica, kill_run, list_runs
from tests.faults.schedule import ClusterFeatures
from tests.faults.workload.webhook_receiver import Receiver
from tests.support import videos

SECRET = "a secret that is long enough for the faults that it is used with"
DISK_MEGABYTES = 64 + MIN_FREE_BYTES // 2**20
"""What exports may use, and what the service leaves free."""
CLIP_SECONDS = {"short": 1, "middle": 10, "long": 40}
SETTINGS = {
    "AUTH_JWT_SECRET": SECRET,
    "CALLBACK_SECRET": SECRET,
    "LOCAL_WORKERS": "3",
    "SILENCE_SECONDS": "3",
    "LEASE_SECONDS": "2",
    "FINALIZE_LEASE_SECONDS": "2",
    "WATCH_SECONDS": "0.5",
    "WEBHOOK_ALLOW_HTTP": "true",
    "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
    "WEBHOOK_TIMEOUT_SECONDS": "1",
}
PRICES = {"GPU_USD_PER_SECOND": str(USD_PER_SECOND), "MAX_COST_PER_USER_DAY_USD": str(DAY_LIMIT_USD)}


class Cluster:
    """A deployment that runs one schedule after another, each with a user of its own."""

    def __init__(self, folder: Path, disk: "Disk", postgres: Postgres | None, *, replicas: int) -> None:
        self.folder = folder
        self.disk = disk
        self.postgres = postgres
        self.objects = disk.path / "objects"
        source = (
            PostgresSource(postgres.url) if postgres is not None else SqliteSource(disk.path / "framehook.db")
        )
        self.database = DatabaseReader(source)
        self.clock = Clock(folder / "clock")
        self.budget_checker = BudgetChecker(self.database, self.clock.now)
        self.callback_checker = CallbackChecker(self.database, self.clock.was_just_set, self.budget_checker)
        self.http = httpx.AsyncClient(
            trust_env=False, timeout=5, limits=httpx.Limits(max_keepalive_connections=0)
        )
        self.receiver = Receiver(self.clock.has_shown)
        self.replicas: list[Replica] = []
        self.features = ClusterFeatures(replicas, postgres is not None, disk.mounted)
        self._clips = folder / "clips"

    async def open(self, program: Sequence[str]) -> None:
        await asyncio.to_thread(_make_clips, self._clips)
        settings = {
            **SETTINGS,
            **PRICES,
            "DATA_DIR": str(self.disk.path),
            "FAULTS_CLOCK": str(self.clock.file),
            "PYTHONPATH": f"{self.clock.folder}{os.pathsep}{HERE}",
        }
        if self.postgres is not None:
            settings["DATABASE_URL"] = self.postgres.url
        for number in range(self.features.replicas):
            self.replicas.append(Replica(self.folder, f"replica-{number}", settings, program=program))
        self.proxy = Proxy([replica.port for replica in self.replicas], self.callback_checker)
        await self.proxy.open()
        await self.receiver.open()
        settings["PUBLIC_URL"] = settings["CALLBACK_URL"] = f"http://127.0.0.1:{self.proxy.port}"
        for replica in self.replicas:
            replica.start()
        await self.wait_ready()

    async def wait_ready(self) -> None:
        """Wait until every replica is ready."""
        await asyncio.gather(*(replica.wait_ready(self.http) for replica in self.replicas))

    @property
    def started_at(self) -> float:
        """When a replica was last started, by the monotonic clock."""
        return max(replica.started_at for replica in self.replicas)

    async def restore(self) -> None:
        """Undo every fault that still lasts."""
        self.disk.empty()
        if self.postgres is not None:
            await self.postgres.start()
        for replica in self.replicas:
            replica.thaw()
        await self.proxy.wait_delivered()
        await self.wait_ready()

    async def close(self) -> None:
        for replica in self.replicas:
            await asyncio.to_thread(replica.stop)
        for pid in self.list_runs():
            kill_run(pid)
        await self.proxy.close()
        await self.receiver.close()
        await self.callback_checker.wait_checked()
        await self.http.aclose()
        await self.database.close()

    def list_runs(self) -> list[int]:
        """Return the processes of runs of all replicas."""
        return list_runs(self.disk.path / "scratch")

    def add_user(self, user: str) -> str:
        """Give a user the source files and return a token."""
        home = self.objects / user / "clips"
        shutil.copytree(self._clips, home)
        return jwt.encode({"sub": user, "exp": int(time.time()) + FOREVER_SECONDS}, SECRET, "HS256")

    def remove_user(self, user: str) -> None:
        shutil.rmtree(self.objects / user, ignore_errors=True)


class Disk:
    """The data folder: a small tmpfs where one can be mounted, else a plain folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(0o700)
        mount = ("mount", "-t", "tmpfs", "-o", f"size={DISK_MEGABYTES}m,mode=0700", "tmpfs", str(path))
        self.mounted = (
            os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
        )
        self._filler = path / "filler"

    def fill(self) -> None:
        """Fill the disk to the last byte."""
        with suppress(OSError), self._filler.open("wb") as file:
            while True:
                file.write(bytes(65_536))
                file.flush()

    def empty(self) -> None:
        self._filler.unlink(missing_ok=True)

    def close(self) -> None:
        if self.mounted:
            subprocess.run(("umount", "--lazy", str(self.path)), check=True)


@asynccontextmanager
async def open_cluster(
    *, postgresql: bool, replicas: int = 1, program: Sequence[str] = SERVE
) -> AsyncIterator[Cluster]:
    """Run a cluster in a temporary folder."""
    folder = Path(tempfile.mkdtemp(prefix="framehook-faults-"))
    postgres = await asyncio.to_thread(Postgres) if postgresql else None
    disk = Disk(folder / "var")
    cluster = Cluster(folder, disk, postgres, replicas=replicas)
    try:
        await cluster.open(program)
        yield cluster
    finally:
        try:
            await cluster.close()
        finally:
            disk.close()
            if postgres is not None:
                await asyncio.to_thread(postgres.close)
            shutil.rmtree(folder, ignore_errors=True)


def _make_clips(folder: Path) -> None:
    folder.mkdir()
    frame = videos.dot(32, 32, width=64, height=64)
    for name, seconds in CLIP_SECONDS.items():
        videos.write_video(folder / f"{name}.mp4", videos.Video(lambda _: frame, videos.frame_times(seconds)))
    (folder / "broken.mp4").write_bytes(b"no video at all")
