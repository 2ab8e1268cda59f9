"""Write the table of metrics to the runbook: `make reference`.

It is made of what a service shows at a scrape, so that it can't say anything else.
"""

import asyncio
import tempfile
from collections.abc import Iterable
from pathlib import Path

from prometheus_client.core import Metric

from service import schema
from service.settings import load_settings
from tests.docs.markdown import GUIDES
from tests.service.metrics.samples import scrape
from tests.support.app_harness import open_app
from tests.support.fakes import FakeRunner

RUNBOOK = GUIDES / "runbook.md"
HEADING = "## Metrics\n\n"
HEADER = "| metric | kind | meaning |\n| --- | --- | --- |\n"


def render_table(families: Iterable[Metric]) -> str:
    """Return the table of the service's own metrics."""
    own = sorted(families, key=lambda family: family.name)
    return HEADER + "".join(render_row(family) for family in own if family.name.startswith("framehook_"))


def render_row(family: Metric) -> str:
    """Return the row of a metric, by the name that queries use."""
    suffix = "_total" if family.type == "counter" else ""
    meaning = family.documentation.replace("|", "\\|")
    return f"| `{family.name}{suffix}` | {family.type} | {meaning} |\n"


def render_runbook(families: Iterable[Metric]) -> str:
    """Return the runbook with the table as its last section."""
    before, heading, _ = RUNBOOK.read_text("utf-8").partition(HEADING)
    return before + heading + render_table(families)


async def _read_families(data_dir: Path) -> list[Metric]:
    schema.upgrade(f"sqlite+aiosqlite:///{data_dir}/framehook.db")
    settings = load_settings(data_dir=data_dir, host="127.0.0.1", port=8000, _env_file="")
    async with open_app(settings, FakeRunner()) as app:
        return (await scrape(app.client)).families


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        RUNBOOK.write_text(render_runbook(asyncio.run(_read_families(Path(folder)))), "utf-8")
