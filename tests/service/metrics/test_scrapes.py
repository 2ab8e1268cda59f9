"""What a scrape answers, for which requests, and on which port."""

import asyncio
import re
import shutil
import subprocess
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import httpx
import pytest
from prometheus_client import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from infra.database.factory import open_database
from infra.database.sqlite import sqlite_url
from service.clock import Clock
from service.metrics.database_figures import DatabaseFigures
from service.metrics.process import create_registry
from service.settings import Settings
from service.webhooks.scheduling.due_query import read_backlog
from tests.service.conftest import bearer
from tests.service.metrics.samples import Samples, names_of, scrape
from tests.support.app_harness import AppHarness, open_app
from tests.support.fakes import FakeRunner
from tests.support.problems import assert_problem

pytestmark = pytest.mark.anyio

TOKEN = "a token for the metrics that is long enough"
PORT = 9_464
SCRAPER = {"authorization": f"Bearer {TOKEN}"}


async def open_with(stack: AsyncExitStack, settings: Settings, **changes: object) -> AppHarness:
    changed = Settings(**{**settings.model_dump(exclude_unset=True), **changes}, _env_file=None)
    return await stack.enter_async_context(open_app(changed, FakeRunner()))


async def test_a_service_with_users_shows_no_metrics_unless_it_is_told_to(multi_user_app: AppHarness) -> None:
    for headers in ({}, bearer("ada"), SCRAPER):
        answer = await multi_user_app.client.get("/metrics", headers=headers)
        assert "METRICS_PORT or METRICS_TOKEN" in assert_problem(answer, 404)["detail"]


async def test_metrics_with_a_token_need_it(users_settings: Settings, stack: AsyncExitStack) -> None:
    app = await open_with(stack, users_settings, metrics_token=TOKEN)
    for headers in ({}, bearer("ada"), {"authorization": f"Basic {TOKEN}"}, {"authorization": "Bearer \xfc"}):
        answer = await app.client.get("/metrics", headers=httpx.Headers(headers, encoding="latin-1"))
        assert assert_problem(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"
    assert names_of((await scrape(app.client, headers=SCRAPER)).families)


async def test_metrics_on_a_port_of_their_own_are_nowhere_else_and_nothing_else_is_there(
    users_settings: Settings, stack: AsyncExitStack
) -> None:
    app = await open_with(stack, users_settings, metrics_port=PORT)
    claimed = {"host": f"127.0.0.1:{PORT}"}
    answer = await app.client.get("/metrics", headers=claimed)
    assert_problem(answer, 404)
    own = f"http://127.0.0.1:{PORT}"
    app.client.event_hooks = {}  # the document is that of the other port
    assert (await app.client.get(f"{own}/metrics")).status_code == 200
    for path in ("/healthz", "/api/exports", "/", "/openapi.json"):
        assert_problem(await app.client.get(f"{own}{path}", headers=bearer("ada")), 404)


async def test_a_port_of_their_own_asks_for_the_token_too(
    users_settings: Settings, stack: AsyncExitStack
) -> None:
    app = await open_with(stack, users_settings, metrics_port=PORT, metrics_token=TOKEN)
    own = f"http://127.0.0.1:{PORT}/metrics"
    assert_problem(await app.client.get(own), 401)
    assert (await app.client.get(own, headers=SCRAPER)).status_code == 200


async def test_names_and_help_follow_the_conventions(app: AppHarness) -> None:
    families = (await scrape(app.client)).families
    own = names_of(families)
    assert len(own) == len(set(own)) > 30
    for family in families:
        if family.name.startswith("framehook_"):
            assert re.fullmatch(r"[a-z][a-z_]*[a-z]", family.name)
            assert re.fullmatch(r"[A-Z0-9].*[^.]", family.documentation)
            is_shared = (
                family.name.startswith("framehook_database_") and family.name != "framehook_database_up"
            )
            assert is_shared == ("use max, not sum" in family.documentation)
            names = {sample.name for sample in family.samples}
            assert family.type != "counter" or all(name.endswith("_total") for name in names)
            assert not any(name.endswith("_created") for name in names)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
async def test_promtool_finds_nothing_to_say(app: AppHarness) -> None:
    await app.submit_export()
    await app.complete_run(await app.next_run())
    text = (await app.client.get("/metrics")).text
    checked = await asyncio.to_thread(
        partial(
            subprocess.run,
            ["promtool", "check", "metrics"],
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


async def test_openmetrics_have_exemplars_and_the_plain_text_has_none(app: AppHarness) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    job = await app.submit_export(headers=headers)
    await app.complete_run(await app.next_run())
    await app.state["scraper"].recorder.drain()
    answer = await app.client.get(
        "/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"}
    )
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    exemplars = {
        (family.name, tuple(sorted(sample.exemplar.labels.items())))
        for family in parse_openmetrics(answer.text)  # type: ignore[no-untyped-call]
        for sample in family.samples
        if sample.exemplar is not None
    }
    expected = (("job_id", job["job_id"]), ("trace_id", trace))
    assert ("framehook_export_duration_seconds", expected) in exemplars
    assert job["job_id"] not in (await app.client.get("/metrics")).text


async def test_without_the_database_the_process_still_shows_what_it_counts(data_dir: Path) -> None:
    database = open_database(sqlite_url(data_dir / "without_tables.db"))
    figures = DatabaseFigures(database, Clock(), read_backlog, [("framing", "local")])
    await figures.refresh()
    samples = Samples(generate_latest(create_registry([figures])).decode())
    await database.close()
    assert names_of(samples.families) == ["framehook_database_up"]
    assert samples.value("database_up") == 0
    assert any(sample.name == "process_cpu_seconds_total" for sample in samples.samples)
