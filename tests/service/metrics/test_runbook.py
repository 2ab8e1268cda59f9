"""The runbook explains every loop and every metric of the code, by its name."""

import re
from pathlib import Path

from infra.database.postgresql import PostgresDatabase
from service.composition.build import build_service
from service.composition.replacements import Replacements
from service.fanout.hub import Hub
from service.settings import Settings
from tests.docs.metric_reference import RUNBOOK, render_runbook
from tests.service.metrics.samples import scrape
from tests.support.app_harness import AppHarness

UNREACHABLE = "postgresql://nobody@127.0.0.1:1/nothing"
"""A database with a change feed, to which nothing connects here."""


async def test_the_runbook_has_each_loop_once_and_no_other(settings: Settings, tmp_path: Path) -> None:
    changed = settings.model_copy(update={"watchdog_seconds": 60.0, "data_dir": tmp_path / "data"})
    database = PostgresDatabase(UNREACHABLE)
    service = build_service(changed, Hub(), database, Replacements())
    await service.runner.close()
    await database.close()
    section = RUNBOOK.read_text("utf-8").partition("## FramehookLoopDown")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([a-z ]+)` \| (.+) \| (.+) \| (.+) \|$", section, re.MULTILINE)
    assert sorted(row[0] for row in rows) == sorted(service.loops)


async def test_the_runbook_has_the_metrics_of_a_scrape(app: AppHarness) -> None:
    families = (await scrape(app.client)).families
    assert RUNBOOK.read_text("utf-8") == render_runbook(families), "run `make reference`"
