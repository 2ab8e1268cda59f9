"""`DELETE /api/batches/{id}?purge=true` erases each export as a purge of its own would."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Table, select

from service.costs.usage import USAGE_DAYS
from service.jobs.erasures import ERASURES
from service.jobs.metadata import ENTRIES
from service.jobs.models import EVENTS, JOBS
from service.webhooks.models import DELIVERIES
from tests.service.conftest import bearer
from tests.service.webhooks.api_calls import create_endpoint
from tests.support.app_harness import AppHarness

pytestmark = pytest.mark.anyio
ADA = bearer("ada")
LATER = (datetime.now(UTC) + timedelta(days=20)).isoformat()
EXPORTS = 30  # more than one transaction erases


async def load_rows(app: AppHarness, table: Table) -> list[dict[str, Any]]:
    async with app.database.reading() as session:
        return [dict(row) for row in (await session.execute(select(table))).mappings()]


async def test_a_purge_of_a_batch_erases_each_export(app: AppHarness) -> None:
    app.put_object(user="ada")
    endpoint = await create_endpoint(
        app.client, "http://127.0.0.1:2/hook", events=["export.erased"], headers=ADA
    )
    exports = [
        app.export_body(not_before=LATER, project_id="secret", metadata={"n": number, "k": "v"})
        for number in range(EXPORTS)
    ]
    for number in (3, 28):
        exports[number] |= {"webhook_url": "http://127.0.0.1:2/hook", "webhook_events": ["export.erased"]}
    answer = await app.client.post("/api/batches", json={"exports": exports}, headers=ADA)
    batch = answer.json()
    kept = await app.submit_export(user="ada", json=app.export_body(not_before=LATER), headers=ADA)
    assert (await app.client.delete(f"/api/batches/{batch['batch_id']}?purge=true", headers=ADA)).is_success
    assert [row["job_id"] for row in await load_rows(app, JOBS)] == [kept["job_id"]]
    assert {row["job_id"] for row in await load_rows(app, EVENTS)} == {kept["job_id"]}
    assert await load_rows(app, ENTRIES) == []
    ids = {export["job_id"] for export in batch["exports"]}
    stubs = await load_rows(app, ERASURES)
    assert {stub["job_id"] for stub in stubs} == ids | {batch["batch_id"]}
    assert {(stub["sweeps"], stub["output_key"]) for stub in stubs} == {(1, None)}
    usage = await load_rows(app, USAGE_DAYS)
    assert sum(row["exports"] for row in usage) == EXPORTS
    assert {row["project_id"] for row in usage} == {""}
    wanted = {(endpoint["id"], job_id) for job_id in ids}
    for number in (3, 28):
        export = batch["exports"][number]
        wanted.add((export["webhook"]["id"], export["job_id"]))
    deliveries = [(row["endpoint_id"], row["job_id"]) for row in await load_rows(app, DELIVERIES)]
    assert sorted(deliveries) == sorted(wanted)
