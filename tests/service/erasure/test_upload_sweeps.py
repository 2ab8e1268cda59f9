"""What is sent after a deletion is deleted; what never came is dropped; what is too old goes."""

from contextlib import AsyncExitStack
from typing import Any

import pytest

from service.settings import Settings
from tests.service.conftest import bearer
from tests.support.app_harness import AppHarness, open_app
from tests.support.clocks import MovableClock
from tests.support.fakes import FakeRunner

pytestmark = pytest.mark.anyio
ADA = bearer("ada")
CONTENT = b"video"
DAY = 86_400


async def announce(app: AppHarness) -> dict[str, Any]:
    body = {"filename": "match.mp4", "size": len(CONTENT), "content_type": "video/mp4"}
    answer = await app.client.post("/api/uploads", json=body, headers=ADA)
    assert answer.status_code == 201, answer.text
    target: dict[str, Any] = answer.json()
    return target


async def send(app: AppHarness, target: dict[str, Any]) -> None:
    answer = await app.client.put(target["url"], content=CONTENT, headers=target["headers"])
    assert answer.status_code == 201, answer.text


async def list_keys(app: AppHarness) -> list[str]:
    answer = await app.client.get("/api/uploads", headers=ADA)
    return [row["key"] for row in answer.json()["uploads"]]


def is_stored(app: AppHarness, target: dict[str, Any]) -> bool:
    path = app.state["storage"].local_path("ada", target["key"])
    assert path is not None
    return path.exists()


async def test_a_file_that_is_sent_after_its_deletion_is_swept(app: AppHarness, clock: MovableClock) -> None:
    target = await announce(app)
    assert (await app.client.delete(f"/api/uploads/{target['key']}", headers=ADA)).status_code == 204
    await send(app, target)
    assert is_stored(app, target)
    clock.step_seconds = 31
    await app.state["removal"].eraser.sweep_due()
    assert not is_stored(app, target)
    assert await list_keys(app) == []


async def test_an_upload_that_never_came_is_dropped_and_one_that_came_is_kept(
    app: AppHarness, clock: MovableClock
) -> None:
    stored, announced = await announce(app), await announce(app)
    await send(app, stored)
    assert await app.state["removal"].uploads.sweep() == 0
    clock.passed_seconds = 2 * 3_600
    assert await app.state["removal"].uploads.sweep() == 1
    assert await list_keys(app) == [stored["key"]]
    assert announced["key"] != stored["key"]


async def test_an_upload_that_is_under_way_is_kept_while_the_clock_is_ahead(
    app: AppHarness, clock: MovableClock
) -> None:
    target = await announce(app)
    clock.step_seconds = 3 * 3_600
    assert await app.state["removal"].uploads.sweep() == 0
    clock.step_seconds = 0
    await send(app, target)
    assert await list_keys(app) == [target["key"]]


async def test_old_uploads_are_deleted_unless_an_export_reads_them(
    any_settings: Settings, clock: MovableClock, stack: AsyncExitStack
) -> None:
    settings = any_settings.model_copy(update={"upload_days": 7.0})
    app = await stack.enter_async_context(open_app(settings, FakeRunner(), clock.clock))
    idle, used = await announce(app), await announce(app)
    for target in (idle, used):
        await send(app, target)
    config = {**app.export_body()["config"], "input_key": used["key"]}
    body = {"type": "framing", "config": config}
    assert (await app.client.post("/api/exports", json=body, headers=ADA)).status_code == 202
    clock.passed_seconds = 6 * DAY
    assert await app.state["removal"].uploads.sweep() == 0
    clock.step_seconds = 2 * DAY
    assert await app.state["removal"].uploads.sweep() == 0
    clock.step_seconds, clock.passed_seconds = 0, 8 * DAY
    assert await app.state["removal"].uploads.sweep() == 1
    assert await list_keys(app) == [used["key"]]
    assert not is_stored(app, idle)


async def test_an_upload_that_was_rejected_leaves_nothing_and_its_room_is_free(
    any_settings: Settings, clock: MovableClock, stack: AsyncExitStack
) -> None:
    settings = any_settings.model_copy(update={"max_bytes_per_user": len(CONTENT)})
    app = await stack.enter_async_context(open_app(settings, FakeRunner(), clock.clock))
    target = await announce(app)
    answer = await app.client.put(target["url"], content=CONTENT + b"more", headers=target["headers"])
    assert answer.status_code in (400, 413, 422), answer.text
    assert not is_stored(app, target)
    assert [path for path in (settings.data_dir / "incoming").rglob("*") if path.is_file()] == []
    clock.passed_seconds = 2 * 3_600
    assert await app.state["removal"].uploads.sweep() == 1
    assert await list_keys(app) == []
    await announce(app)
