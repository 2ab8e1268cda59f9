"""The filter of an endpoint over the API: how it is given, shown, replaced and removed."""

from typing import Any

import pytest

from tests.service.webhooks.api_calls import create_endpoint, deliveries, patch_endpoint, path
from tests.support.app_harness import AppHarness
from tests.support.problems import assert_problem

URL = "http://127.0.0.1:2/hook"
GIVEN: dict[str, Any] = {
    "status": ["error", "complete", "error"],
    "type": ["overlay", "framing"],
    "project_id": 7,
    "metadata": {"n": 5.0, "ratio": 0.5, "rush": True, "k": "5"},
    "created_after": "2026-01-02T03:04:05.678+01:00",
    "created_before": "2027-01-01T00:00:00Z",
}
SHOWN: dict[str, Any] = {
    "status": ["complete", "error"],
    "type": ["framing", "overlay"],
    "project_id": "7",
    "metadata": {"n": "5", "ratio": "0.5", "rush": "true", "k": "5"},
    "created_after": "2026-01-02T02:04:05.678Z",
    "created_before": "2027-01-01T00:00:00.000Z",
}


async def test_a_filter_is_shown_wherever_its_endpoint_is(app: AppHarness) -> None:
    endpoint = await create_endpoint(app.client, URL, filter=GIVEN)
    listed = (await app.client.get("/api/webhooks")).json()["webhooks"]
    for shown in (endpoint, *listed, (await app.client.get(path(endpoint))).json()):
        assert shown["filter"] == SHOWN
    for name, value in GIVEN.items():
        changed = await patch_endpoint(app.client, endpoint, filter={name: value})
        assert changed["filter"] == {name: SHOWN[name]}
        again = await patch_endpoint(
            app.client, endpoint, filter=changed["filter"]
        )  # what is shown can be given
        assert again["filter"] == changed["filter"]


async def test_a_filter_is_kept_replaced_as_a_whole_and_removed(app: AppHarness) -> None:
    endpoint = await create_endpoint(app.client, URL, filter={"project_id": "7"})
    kept = await patch_endpoint(app.client, endpoint, description="x", enabled=True)
    assert kept["filter"] == {"project_id": "7"}
    for removed in (None, dict[str, Any]()):
        await patch_endpoint(app.client, endpoint, filter={"status": ["error"]})
        assert (await patch_endpoint(app.client, endpoint, filter=removed))["filter"] is None
    assert (await create_endpoint(app.client, URL, filter={}))["filter"] is None


@pytest.mark.parametrize(
    ("given", "where"),
    [
        pytest.param([], ["filter"], id="a list"),
        pytest.param({"project": "7"}, ["filter", "project"], id="an unknown condition"),
        pytest.param({"status": ["done"]}, ["filter", "status", 0], id="an unknown status"),
        pytest.param({"status": "error"}, ["filter", "status"], id="no list of statuses"),
        pytest.param({"type": ["montage"]}, ["filter", "type", 0], id="an unknown type"),
        pytest.param({"type": ["framing"] * 21}, ["filter", "type"], id="too many types"),
        pytest.param({"metadata": {"a b": 1}}, ["filter", "metadata", "a b", "[key]"], id="a bad key"),
        pytest.param({"metadata": {"n": None}}, ["filter", "metadata", "n"], id="a bad value"),
        pytest.param({"metadata": {str(n): n for n in range(17)}}, ["filter", "metadata"], id="17 keys"),
        pytest.param(
            {"created_after": "2026-01-02T03:04:05"}, ["filter", "created_after"], id="no time zone"
        ),
        pytest.param({"created_before": 5}, ["filter", "created_before"], id="a number for a time"),
    ],
)
async def test_a_bad_filter_is_named(app: AppHarness, given: Any, where: list[Any]) -> None:
    endpoint = await create_endpoint(app.client, URL)
    for answer in (
        await app.client.post("/api/webhooks", json={"url": URL, "filter": given}),
        await app.client.patch(path(endpoint), json={"filter": given}),
    ):
        assert [error["loc"] for error in assert_problem(answer, 422)["errors"]] == [where]


async def test_deliveries_are_written_for_exports_that_match(app: AppHarness) -> None:
    endpoint = await create_endpoint(
        app.client,
        URL,
        events=["export.cancelled", "export.erased"],
        filter={"metadata": {"channel": "news"}},
    )
    for metadata in ({"channel": "sports"}, {"channel": "news"}):
        job = await app.submit_export(json=app.export_body(metadata=metadata))
        await app.client.delete(f"/api/exports/{job['job_id']}")
        await app.client.delete(f"/api/exports/{job['job_id']}?purge=true")
    log = (await deliveries(app.client, endpoint))["deliveries"]
    assert [(delivery["job_id"], delivery["type"]) for delivery in log] == [
        (job["job_id"], "export.erased"),
        (job["job_id"], "export.cancelled"),
    ]
