"""What `POST /api/webhooks/{id}/test` takes and refuses."""

from tests.service.webhooks.api_calls import create_endpoint, path
from tests.support.app_harness import AppHarness
from tests.support.problems import assert_problem


async def test_a_test_may_have_a_type_and_a_fault(app: AppHarness) -> None:
    endpoint = await create_endpoint(app.client, "http://127.0.0.1:2/hook")
    test = path(endpoint, "test")
    plain = (await app.client.post(test)).json()
    assert (plain["type"], plain["fault"], plain["job_id"]) == ("webhook.test", None, None)
    body = {"type": "export.expired", "fault": "reorder", "export_type": "overlay"}
    accepted = await app.client.post(test, json=body)
    assert accepted.status_code == 202
    assert (accepted.json()["type"], accepted.json()["fault"]) == ("export.completed", "reorder")
    refused = await app.client.post(test, json={"type": "export.started", "fault": "reorder"})
    assert assert_problem(refused, 422)["errors"][0]["loc"] == ["type"]
    for wrong in ({"type": "export.paused"}, {"fault": "fire"}, {"export_type": "unknown"}):
        assert_problem(await app.client.post(test, json=wrong), 422)
