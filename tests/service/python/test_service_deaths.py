"""The clients while the service is killed under them: real processes."""

import asyncio
import hashlib
import os
import signal
from pathlib import Path

from infra.storage import FolderStorage
from tests.service.python.any_client import ClientFactory
from tests.support.service_process import ServiceProcess

FILM_BYTES = 40 * 2**20


async def test_an_upload_goes_on_after_the_service_was_killed(clients: ClientFactory, tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(os.urandom(FILM_BYTES))
    died = asyncio.Event()
    loop = asyncio.get_running_loop()
    progress: list[int] = []

    def kill(sent: int, total: int) -> None:
        progress.append(sent)
        if sent > total / 2 and not died.is_set() and service.process is not None:
            service.process.send_signal(signal.SIGKILL)
            loop.call_soon_threadsafe(died.set)

    async with ServiceProcess(tmp_path / "service") as service:
        client = clients.open(f"http://127.0.0.1:{service.port}", is_patient=True)
        upload = asyncio.create_task(client.call("upload", film, on_progress=kill))
        await died.wait()
        service.stop(signal.SIGKILL)
        await service.start()
        key = await upload
        stored = FolderStorage(service.folder / "var").local_path("local", key)
        digests = [hashlib.sha256(path.read_bytes()).digest() for path in (stored, film)]
    assert digests[0] == digests[1]
    assert progress[-1] == FILM_BYTES
