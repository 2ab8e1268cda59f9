"""An export on Modal that reaches its `max_cost_usd` is stopped at the callback that says so."""

from pathlib import Path

import pytest

from infra.modal_local import ModalLocal
from tests.flows.on_modal.modal_harness import FRAMING, open_harness

pytestmark = pytest.mark.anyio
LIMIT_USD = 0.5


async def test_an_export_over_its_limit_is_stopped_within_a_callback(
    plane: ModalLocal, data_dir: Path, long: bytes
) -> None:
    async with open_harness(plane, data_dir, gpu_usd_per_second=1.0) as harness:
        config = {
            "input_key": await harness.upload(long),
            **FRAMING,
            "output_width": 1_920,
            "quality": "high",
        }
        body = {"type": "framing", "config": config, "max_cost_usd": LIMIT_USD}
        answer = await harness.http.post("/api/exports", json=body)
        assert answer.status_code == 202, answer.text
        job_id = answer.json()["job_id"]
        job = await harness.wait_ended(job_id)
        await harness.proxy.wait_answered(410)
        assert (job["status"], job["attempt"], job["error"]["code"]) == ("error", 1, "budget_exceeded")
        assert job["output"] is None
        reports = [each for each in harness.proxy.forwarded if "gpu_seconds" in each.body.get("data", {})]
        spent = [each.body["data"]["gpu_seconds"] for each in reports]
        over = next(number for number, usd in enumerate(spent) if usd >= LIMIT_USD)
        assert [each.status for each in reports[: over + 1]] == [200] * over + [410]
        assert over > 0, "nothing was accepted before the limit was reached"
        assert LIMIT_USD <= job["cost_usd"] == pytest.approx(spent[over], abs=1e-6)
        assert job["cost_usd"] - LIMIT_USD <= spent[over] - spent[over - 1]
        assert (await harness.job(job_id))["cost_usd"] == job["cost_usd"]
