"""An outage of the database takes a few lines in the log, however many requests fail during it."""

import asyncio
import json
import signal
from pathlib import Path

import pytest

from tests.infra.database.pooler import run_pooler
from tests.support.service_process import ServiceProcess, wait_until

FAILED_REQUESTS = 40


@pytest.mark.parametrize("log_format", ["json", "text"])
async def test_an_outage_of_the_database_is_a_few_lines(
    postgresql_url: str, tmp_path: Path, log_format: str
) -> None:
    async with run_pooler(postgresql_url) as proxy:
        url, port = proxy.url, int(proxy.url.rpartition(":")[2].partition("/")[0])
        service = ServiceProcess(tmp_path, {"DATABASE_URL": url, "LOG_FORMAT": log_format})
        await service.__aenter__()
    try:
        for path in ("/api/exports", "/readyz") * (FAILED_REQUESTS // 2):
            assert (await service.http.get(path)).status_code == 503
        async with run_pooler(postgresql_url, port):
            await wait_until(lambda: "the database is back" in service.log, service)
            assert (await service.http.get("/api/exports")).status_code == 200
            await asyncio.to_thread(service.stop, signal.SIGTERM)  # the pooler runs here
    finally:
        assert service.process is not None
        if service.process.poll() is None:
            service.stop(signal.SIGKILL)
        await service.http.aclose()
    lines = [line for line in service.log.splitlines() if "access" not in line]
    about_it = [line for line in lines if "the database" in line]
    assert "Traceback" not in service.log
    assert 1 <= sum("is unreachable" in line for line in about_it) <= 3
    assert len(lines) < FAILED_REQUESTS
    if log_format == "json":
        assert all(json.loads(line) for line in service.log.splitlines())
