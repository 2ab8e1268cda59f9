"""Run schedules of the browser client in Node against a service in this process."""

import asyncio
import json
import uuid
from pathlib import Path
from typing import Any

from service.settings import Settings
from tests.service.conftest import JWT_SECRET, MASTER
from tests.support.fakes import FakeRunner
from tests.support.npm.node_runtime import NODE
from tests.support.stream_server import open_server

SIMULATION = Path(__file__).parent / "simulation" / "main.mjs"
CLIENT = Path(__file__).parents[3] / "service" / "web" / "framehook.js"
MANY = 1_000_000


async def run_schedules(
    settings: Settings, *, seed: int, count: int, client: Path = CLIENT
) -> dict[str, Any]:
    """Run schedules with the seeds from `seed` on, and return their report."""
    async with open_server(settings, FakeRunner(slots=MANY)) as server:
        options = {
            "url": f"http://{server.address}",
            "client": client.as_uri(),
            "seed": seed,
            "count": count,
            "run": uuid.uuid4().hex[:8],
            "jwtSecret": JWT_SECRET,
            "callbackSecret": MASTER,
            "dataFolder": str(settings.data_dir),
        }
        process = await asyncio.create_subprocess_exec(
            NODE,
            SIMULATION,
            json.dumps(options),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
        report: dict[str, Any] = json.loads(output)
        return report
