"""What an operator's Prometheus reads."""

import pytest

from tests.support.app_harness import House

pytestmark = pytest.mark.anyio


async def test_metrics_count_what_is_active_and_what_was_committed(house: House) -> None:
    await house.submitted()
    run = await house.run()
    await run.started()
    await house.submitted(json=house.body(project_id="second"))
    await house.run()
    answer = await house.client.get("/metrics")
    lines = answer.text.splitlines()
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'framehook_jobs_active{status="processing"} 1.0' in lines
    assert 'framehook_jobs_active{status="pending"} 1.0' in lines
    assert "framehook_callbacks_total 1.0" in lines
    assert "framehook_loops_down 0.0" in lines
    assert "local" not in answer.text


async def test_metrics_tell_how_webhooks_fare(house: House) -> None:
    answer = await house.client.get("/metrics")
    lines = answer.text.splitlines()
    assert "framehook_webhooks_pending 0.0" in lines
    assert "framehook_webhooks_under_way 0.0" in lines
    assert 'framehook_webhook_delay_seconds_bucket{le="+Inf"} 0.0' in lines
    assert "framehook_webhook_delay_seconds_count 0.0" in lines
