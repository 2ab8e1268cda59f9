"""A probe from where runs are says whether their reports arrive, and if not, why."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from callbacks.probe import ProbeAnswer, ProbeTarget, post_probe
from service.doctor.callbacks import check_callbacks, describe_answer, post_from_process
from service.settings import Settings
from service.startup.findings import Level
from tests.support.fakes import FakeRunner
from tests.support.live_server import MASTER, LiveServer, free_port, serve_app, settings_on


@pytest.fixture
async def server(data_dir: Path) -> AsyncIterator[LiveServer]:
    async with serve_app(settings_on(free_port(), data_dir), FakeRunner()) as server:
        yield server


def settings_of(server: LiveServer, data_dir: Path) -> Settings:
    return settings_on(int(server.url.rpartition(":")[2]), data_dir)


async def post_from_thread(target: ProbeTarget) -> ProbeAnswer:
    return await asyncio.to_thread(post_probe, target)


async def test_a_process_like_those_of_runs_reaches_the_service(server: LiveServer, data_dir: Path) -> None:
    finding = await check_callbacks(settings_of(server, data_dir), MASTER.encode(), post_from_process)
    assert (finding.level, "takes signed reports" in finding.message) == (Level.OK, True)


async def test_a_service_with_another_secret_is_found_out(server: LiveServer, data_dir: Path) -> None:
    finding = await check_callbacks(settings_of(server, data_dir), b"x" * 40, post_from_thread)
    assert (finding.level, "CALLBACK_SECRET" in finding.message) == (Level.FAIL, True)


async def test_a_probe_changes_nothing(server: LiveServer, data_dir: Path) -> None:
    await check_callbacks(settings_of(server, data_dir), MASTER.encode(), post_from_thread)
    assert (await server.http.get("/api/exports/recent")).json()["exports"] == []


async def test_where_nothing_listens_the_address_is_named(data_dir: Path) -> None:
    settings = settings_on(free_port(), data_dir)
    finding = await check_callbacks(settings, MASTER.encode(), post_from_thread)
    assert finding.level is Level.FAIL
    assert f"PORT: http://127.0.0.1:{settings.port} can't be reached" in finding.message


async def test_a_proxy_that_sends_callbacks_elsewhere_is_found_out(
    server: LiveServer, data_dir: Path
) -> None:
    settings = settings_on(1, data_dir, callback_url=f"{server.url}/elsewhere")
    finding = await check_callbacks(settings, MASTER.encode(), post_from_thread)
    assert (finding.level, "CALLBACK_URL" in finding.message) == (Level.FAIL, True)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (ProbeAnswer(401, "clock_off"), "the clocks of runs and service differ"),
        (ProbeAnswer(404, ""), "answered by another server (status 404)"),
        (ProbeAnswer(404, "not_found"), "answered by another server (status 404)"),
        (ProbeAnswer(502, ""), "answered by another server (status 502)"),
        (ProbeAnswer(error="ConnectTimeout"), "can't be reached from where runs are (ConnectTimeout)"),
    ],
)
def test_each_answer_has_a_meaning(answer: ProbeAnswer, said: str, data_dir: Path) -> None:
    finding = describe_answer(settings_on(1, data_dir), answer)
    assert (finding.level, said in finding.message) == (Level.FAIL, True)


def test_a_target_carries_the_key_of_one_attempt_only() -> None:
    target = ProbeTarget.create("https://a.example", MASTER.encode(), "doctor-1")
    assert MASTER not in msgspec.json.encode(target).decode()
    assert target.url == "https://a.example/api/callbacks/doctor-1"
