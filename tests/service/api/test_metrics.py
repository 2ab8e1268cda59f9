"""The metrics for Prometheus."""

import pytest

from tests.support.app_harness import AppHarness

pytestmark = pytest.mark.anyio


async def test_metrics_count_what_is_active_and_what_was_committed(app: AppHarness) -> None:
    await app.submit_export()
    run = await app.next_run()
    await run.report_started()
    await app.submit_export(json=app.export_body(project_id="second"))
    await app.next_run()
    answer = await app.client.get("/metrics")
    lines = answer.text.splitlines()
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'framehook_jobs_active{status="processing"} 1.0' in lines
    assert 'framehook_jobs_active{status="pending"} 1.0' in lines
    assert "framehook_callbacks_total 1.0" in lines
    assert "framehook_loops_down 0.0" in lines
    assert "local" not in answer.text


async def test_metrics_show_webhook_deliveries(app: AppHarness) -> None:
    answer = await app.client.get("/metrics")
    lines = answer.text.splitlines()
    assert "framehook_webhooks_pending 0.0" in lines
    assert "framehook_webhooks_under_way 0.0" in lines
    assert 'framehook_webhook_delay_seconds_bucket{le="+Inf"} 0.0' in lines
    assert "framehook_webhook_delay_seconds_count 0.0" in lines
