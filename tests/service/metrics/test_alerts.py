"""The alert rules for Prometheus hold, read metrics that exist, and lead to a section of the runbook."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.service.metrics.promql import (
    OBSERVABILITY,
    find_metrics,
    names_of_samples,
    promtool_only,
    run_promtool,
)
from tests.service.metrics.samples import scrape
from tests.support.app_harness import AppHarness

RUNBOOK = Path(__file__).parents[3] / "service" / "docs" / "runbook.md"


def read_alerts() -> dict[str, dict[str, Any]]:
    """Return the rules by the name of their alert."""
    document = yaml.safe_load((OBSERVABILITY / "alerts.yaml").read_text("utf-8"))
    rules = [rule for group in document["groups"] for rule in group["rules"]]
    alerts = {rule["alert"]: rule for rule in rules}
    assert len(alerts) == len(rules) > 10
    return alerts


@promtool_only
def test_promtool_accepts_the_rules() -> None:
    run_promtool("check", "rules", "alerts.yaml")


@promtool_only
def test_each_alert_fires_and_none_does_on_a_quiet_day() -> None:
    run_promtool("test", "rules", "alerts.test.yaml")


def test_each_alert_is_fired_by_a_test_for_promtool() -> None:
    document = yaml.safe_load((OBSERVABILITY / "alerts.test.yaml").read_text("utf-8"))
    assert document["rule_files"] == ["alerts.yaml"]
    fired = {
        match[1]
        for test in document["tests"]
        for check in test["promql_expr_test"]
        if check["exp_samples"] and (match := re.search(r'alertname="(\w+)"', check["expr"]))
    }
    assert fired == set(read_alerts())
    (quiet,) = [test for test in document["tests"] if test["name"] == "none fires on a quiet day"]
    assert [check["exp_samples"] for check in quiet["promql_expr_test"]] == [[]]


def test_each_alert_has_a_section_of_the_runbook_and_each_section_an_alert() -> None:
    headings = re.findall(r"^## (Framehook\w+)$", RUNBOOK.read_text("utf-8"), re.MULTILINE)
    alerts = read_alerts()
    assert headings == list(alerts)
    for name, rule in alerts.items():
        assert rule["annotations"]["runbook"] == f"runbook.md#{name.lower()}"
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in {"page", "ticket"}


@pytest.mark.anyio
async def test_rules_and_runbook_name_only_metrics_that_exist(app: AppHarness) -> None:
    known = names_of_samples((await scrape(app.client)).families)
    for name, rule in read_alerts().items():
        read = find_metrics(rule["expr"])
        assert read or rule["expr"].startswith("up{"), f"{name} reads no metric"
        assert read <= known, name
    sections, _, _ = RUNBOOK.read_text("utf-8").partition("\n## Metrics")
    assert find_metrics(sections) <= known
