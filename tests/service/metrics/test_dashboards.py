"""The dashboards for Grafana read metrics and labels that exist, by expressions that Prometheus can parse."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.core import Metric

from tests.service.metrics.promql import (
    OBSERVABILITY,
    find_labels,
    find_metrics,
    names_of_samples,
    promtool_only,
    run_promtool,
)
from tests.service.metrics.samples import scrape
from tests.support.app_harness import AppHarness

DASHBOARDS = sorted((OBSERVABILITY / "dashboards").glob("*.json"))
SCRAPE_LABELS = {"job", "instance"}
each_dashboard = pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)


def read_dashboard(path: Path) -> dict[str, Any]:
    dashboard: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return dashboard


def list_targets(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the expression and the legend of each query."""
    for panel in read_dashboard(path)["panels"]:
        for target in panel["targets"]:
            yield target["expr"], target["legendFormat"]


def labels_by_metric(families: Iterable[Metric]) -> dict[str, set[str]]:
    """Return the labels of each metric that has samples."""
    labels: dict[str, set[str]] = {}
    for family in families:
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    return labels


def test_there_are_dashboards_for_service_exports_webhooks_and_cost() -> None:
    assert {path.stem for path in DASHBOARDS} == {"service", "exports", "webhooks", "cost"}
    dashboards = [read_dashboard(path) for path in DASHBOARDS]
    for key in ("uid", "title"):
        assert len({dashboard[key] for dashboard in dashboards}) == len(DASHBOARDS)


@each_dashboard
def test_panels_have_a_place_each_and_the_data_source_that_is_chosen(path: Path) -> None:
    dashboard = read_dashboard(path)
    assert [variable["name"] for variable in dashboard["templating"]["list"]] == ["datasource"]
    panels = dashboard["panels"]
    for key in ("id", "title"):
        assert len({panel[key] for panel in panels}) == len(panels)
    cells: list[tuple[int, int]] = []
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        cells += [
            (column, row)
            for column in range(place["x"], place["x"] + place["w"])
            for row in range(place["y"], place["y"] + place["h"])
        ]
    assert len(cells) == len(set(cells)), "panels lie on each other"


@pytest.mark.anyio
async def test_dashboards_name_only_metrics_and_labels_that_exist(app: AppHarness) -> None:
    await app.submit_export()
    await app.complete_run(await app.next_run())
    await app.state["scraper"].recorder.drain()
    families = (await scrape(app.client)).families
    known, labels = names_of_samples(families), labels_by_metric(families)
    assert len(labels.keys() & known) > 30
    for path in DASHBOARDS:
        for expression, legend in list_targets(path):
            read = find_metrics(expression)
            assert read or expression == 'sum(up{job="framehook"})', expression
            assert read <= known, expression
            shown = set(re.findall(r"{{(\w+)}}", legend))
            assert shown <= find_labels(expression), f"{expression} loses a label of {legend}"
            if read <= labels.keys():
                has = set.union(SCRAPE_LABELS, *(labels[name] for name in read))
                assert find_labels(expression) <= has, expression


def test_figures_of_the_database_are_never_summed_over_replicas() -> None:
    for path in DASHBOARDS:
        for expression, _ in list_targets(path):
            if "framehook_database_" in expression:
                assert re.search(r"(?:max|min)(?: by \([\w, ]+\) )?\(framehook_database_", expression), (
                    expression
                )


@promtool_only
def test_prometheus_parses_each_expression(tmp_path: Path) -> None:
    expressions = [expression for path in DASHBOARDS for expression, _ in list_targets(path)]
    rules = [
        {"record": f"dashboards:{index}", "expr": expression.replace("$__rate_interval", "5m")}
        for index, expression in enumerate(expressions)
    ]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]}))
    assert f"{len(expressions)} rules found" in run_promtool("check", "rules", file)
