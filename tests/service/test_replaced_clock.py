"""Everything that the API dates goes by the clock of the service, which a test sets three days back."""

from contextlib import AsyncExitStack
from datetime import UTC, datetime

import pytest

from service.settings import Settings, load_settings
from tests.support.app_harness import AppHarness, open_app
from tests.support.clocks import MovableClock
from tests.support.fakes import FakeRunner
from tests.support.stream_server import open_server

DAYS_BACK = 3
URL = "http://127.0.0.1:2/hook"


@pytest.fixture
def clock() -> MovableClock:
    clock = MovableClock()
    clock.step_seconds = -DAYS_BACK * 86_400
    return clock


@pytest.fixture
async def app(settings: Settings, clock: MovableClock, stack: AsyncExitStack) -> AppHarness:
    own = settings.model_dump(exclude_unset=True)
    receivers = {"webhook_allow_http": True, "webhook_allowed_networks": ("127.0.0.0/8",)}
    allowing = load_settings(**own | receivers)
    return await stack.enter_async_context(open_app(allowing, FakeRunner(), clock.clock))


def days_back(text: str) -> int:
    """Return how many days ago a time of the API was."""
    return round((datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds() / 86_400)


async def test_webhooks_are_dated_by_the_clock_of_the_service(app: AppHarness) -> None:
    created = (await app.client.post("/api/webhooks", json={"url": URL})).json()
    assert days_back(created["created_at"]) == DAYS_BACK
    path = f"/api/webhooks/{created['id']}"
    rotated = (await app.client.post(f"{path}/rotate")).json()
    assert days_back(rotated["previous_secret_until"]) == DAYS_BACK - 1
    assert days_back((await app.client.get(path)).json()["previous_secret_until"]) == DAYS_BACK - 1
    test = (await app.client.post(f"{path}/test")).json()
    assert days_back(test["created_at"]) == DAYS_BACK
    disabled = (await app.client.patch(path, json={"enabled": False})).json()
    assert days_back(disabled["disabled_at"]) == DAYS_BACK


async def test_recent_exports_and_acknowledgements_go_by_the_clock_of_the_service(app: AppHarness) -> None:
    job = await app.submit_export()
    await app.client.delete(f"/api/exports/{job['job_id']}")
    recent = (await app.client.get("/api/exports/recent?hours=1")).json()["exports"]
    assert [export["job_id"] for export in recent] == [job["job_id"]]
    acknowledged = (await app.client.post("/api/exports/acknowledge")).json()["exports"]
    assert [days_back(export["acknowledged_at"]) for export in acknowledged] == [DAYS_BACK]


async def test_a_stream_resumes_by_the_clock_of_the_service(
    settings: Settings, clock: MovableClock, stack: AsyncExitStack
) -> None:
    server = await stack.enter_async_context(open_server(settings, clock=clock.clock))
    async with server.events("/api/exports/events") as events:
        snapshot = await events.next()
        assert snapshot is not None
        assert days_back(datetime.fromtimestamp(int(snapshot.id) / 1_000, UTC).isoformat()) == DAYS_BACK
        run = await server.submit_export()
        changed = await events.next()
        assert changed is not None
        assert days_back(datetime.fromtimestamp(int(changed.id) / 1_000, UTC).isoformat()) == DAYS_BACK
    await server.client.delete(f"/api/exports/{run.spec.job_id}")
    await server.client.post("/api/exports/acknowledge")
    async with server.events("/api/exports/events", **{"last-event-id": changed.id}) as events:
        assert [job["status"] for job in await events.snapshot()] == ["cancelled"]
