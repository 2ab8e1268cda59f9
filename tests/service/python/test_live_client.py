"""The clients against the service on a real socket, which is restarted under them."""

import asyncio
import hashlib
import io
import time
from collections.abc import Callable
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest

import framehook
from framehook import (
    Conflict,
    DescribedSource,
    Export,
    ExportCancelled,
    ExportFailed,
    NotFound,
    Problem,
    Unauthenticated,
)
from framehook.errors import Gone
from tests.service.conftest import JWT_SECRET, token
from tests.service.python.any_client import AnyClient, ClientFactory, create_export
from tests.support.fakes import FakeRun
from tests.support.live_server import (
    FRAMING,
    DurableRunner,
    LiveServer,
    ScriptedResponse,
    free_port,
    serve_app,
    serve_script,
    settings_on,
)
from tests.support.small_mp4 import make_video
from tests.support.videos import Video, dot, frame_times, write_video

CONTENT = make_video(b"the exported video" * 40_000)


async def complete(server: LiveServer, run: FakeRun, content: bytes = CONTENT) -> None:
    server.write_output(run, content)
    checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert (await run.report_completed(size=len(content), checksum=checksum)).status_code == 200


class Watching:
    """A watch in the background, with a queue of its states."""

    def __init__(self, client: AnyClient, *arguments: object, **options: object) -> None:
        self._seen: asyncio.Queue[Export] = asyncio.Queue()
        self.job_ids: set[str] = set()

        async def watch() -> None:
            async with aclosing(client.items("watch", *arguments, **options)) as states:
                async for export in states:
                    self.job_ids.add(export.job_id)
                    self._seen.put_nowait(export)

        self.ended = asyncio.create_task(watch())

    async def until(self, is_wanted: Callable[[Export], bool]) -> Export:
        async with asyncio.timeout(30):
            while True:
                export = await self._seen.get()
                if is_wanted(export):
                    return export


async def test_a_video_is_exported_in_one_call(
    clients: ClientFactory, server: LiveServer, tmp_path: Path
) -> None:
    source, target = tmp_path / "match.mov", tmp_path / "out.mp4"
    source.write_bytes(bytes(700_000))
    sent: list[tuple[int, int]] = []
    states: list[Export] = []
    client = clients.open(server.url)
    exporting = asyncio.create_task(
        client.call(
            "export",
            source,
            "framing",
            FRAMING,
            output=target,
            on_progress=lambda *progress: sent.append(progress),
            on_state=states.append,
        )
    )
    await complete(server, await server.next_run())
    result = await exporting
    assert (sent[0], sent[-1]) == ((262_144, 700_000), (700_000, 700_000))
    assert (result.status, states[-1], target.read_bytes() == CONTENT) == ("complete", result, True)
    assert [path.name async for path in anyio.Path(tmp_path).glob("*.part")] == []


async def test_a_watch_survives_a_restart_of_the_service(clients: ClientFactory, data_dir: Path) -> None:
    settings, runner = settings_on(free_port(), data_dir), DurableRunner()
    client = clients.open(settings.origin, is_patient=True)
    gone, loop = asyncio.Event(), asyncio.get_running_loop()
    async with serve_app(settings, runner) as server:
        job = await create_export(client)
        watching = Watching(client, job, on_disconnect=lambda _reason: loop.call_soon_threadsafe(gone.set))
        run = await server.next_run()
        await run.report_progress(30)
        await watching.until(lambda export: export.progress == 30)
    async with serve_app(settings, runner) as server:
        again = FakeRun(run.spec, server.http)
        again.step = run.step
        await again.report_failed()
        ended = await watching.until(lambda export: export.is_final)
        await watching.ended
    assert (ended.status, ended.error and ended.error.code) == ("error", "no_video")
    assert gone.is_set()


async def test_a_watch_of_a_project_yields_each_end_even_of_what_ended_while_it_was_away(
    clients: ClientFactory, data_dir: Path
) -> None:
    settings, runner = settings_on(free_port(), data_dir), DurableRunner()
    client = clients.open(settings.origin, is_patient=True)
    async with serve_app(settings, runner):
        watching = Watching(client, project_id=7)
        await create_export(client, project_id=8)
        jobs = [await create_export(client, project_id=project_id) for project_id in (7, "7", 7)]
        for job in jobs:
            await watching.until(lambda export, job=job: export.job_id == job.job_id)  # type: ignore[misc]
        await client.call("cancel", jobs[0])
        await watching.until(lambda export: export.status == "cancelled")
    async with serve_app(settings, runner):
        await client.call("cancel", jobs[1].job_id)
        other = clients.open(settings.origin)
        await other.call("cancel", jobs[2])
        ended = {(await watching.until(lambda export: export.is_final)).job_id for _ in range(2)}
        watching.ended.cancel()
        await asyncio.wait([watching.ended])
    assert ended == {jobs[1].job_id, jobs[2].job_id}
    assert watching.job_ids == {job.job_id for job in jobs}


async def test_waiting_for_an_export_that_does_not_complete_raises(
    clients: ClientFactory, server: LiveServer
) -> None:
    client = clients.open(server.url)
    failed = await create_export(client)
    await (await server.next_run()).report_failed()
    with pytest.raises(ExportFailed, match="no video") as failure:
        await client.call("wait", failed)
    assert (failure.value.code, failure.value.export.job_id) == ("no_video", failed.job_id)
    cancelled = await create_export(client)
    await client.call("cancel", cancelled)
    with pytest.raises(ExportCancelled, match="was cancelled"):
        await client.call("wait", cancelled.job_id)
    with pytest.raises(Conflict):
        await client.call("download", cancelled, "never.mp4")
    assert (await client.call("retry", cancelled)).status == "pending"
    with pytest.raises(TimeoutError):
        await client.call("wait", cancelled, timeout_seconds=0.2)


async def test_exports_are_listed_and_acknowledged(clients: ClientFactory, server: LiveServer) -> None:
    client = clients.open(server.url)
    jobs = [await create_export(client, project_id=project_id) for project_id in ("1", "2", "2")]
    await client.call("cancel", jobs[2])
    ids = [job.job_id for job in jobs]
    assert [job.job_id for job in await client.list_items("list")] == ids[::-1]
    assert [job.job_id for job in await client.list_items("list", status="cancelled")] == [ids[2]]
    assert {job.job_id for job in await client.call("list_active")} == set(ids[:2])
    assert {job.job_id for job in await client.call("list_recent", hours=1)} == set(ids)
    assert [job.job_id for job in await client.call("list_unacknowledged")] == [ids[2]]
    assert [job.job_id for job in await client.call("acknowledge", jobs)] == [ids[2]]
    assert await client.call("list_unacknowledged") == ()
    await client.call("cancel", jobs[1])
    assert [job.job_id for job in await client.call("acknowledge")] == [ids[1]]
    assert (await client.call("get", ids[0])).project_id == "1"
    assert (await client.call("timeline", jobs[0])).phases[0].phase == "queued"
    with pytest.raises(NotFound):
        await client.call("get", "none")


async def test_an_estimate_says_what_an_export_becomes_or_why_it_fails(
    clients: ClientFactory, server: LiveServer, tmp_path: Path
) -> None:
    client = clients.open(server.url)
    video = Video(draw=lambda time: dot(40 + 90 * time, 90), times=frame_times(0.5))
    config = {**FRAMING, "input_key": await client.call("upload", write_video(tmp_path / "match.mp4", video))}
    estimate = await client.call("estimate", "framing", config, name="Final")
    assert (estimate.output.width, estimate.output.height, estimate.output.duration) == (320, 180, 0.5)
    assert estimate.source.audio_tracks == ()
    with pytest.raises(Problem) as caught:
        await client.call("estimate", "framing", config | {"trim": {"start": 7, "end": 8}})
    assert (caught.value.code, caught.value.errors[0].name) == ("clip_outside_source", "config.trim")
    source = DescribedSource(duration=0.5, width=320, height=180, fps=30.0, codec="h264", size=4_000)
    of_description = await client.call("estimate", "framing", FRAMING, source=source)
    assert (of_description.seconds, of_description.source) == (estimate.seconds, estimate.source)
    assert await client.call("list_active") == ()


async def test_an_idempotency_key_returns_the_first_export(
    clients: ClientFactory, server: LiveServer
) -> None:
    client = clients.open(server.url)
    key = await client.call("upload", io.BytesIO(b"video"), filename="match.mp4")
    config = {**FRAMING, "input_key": key}
    first, second = [
        await client.call("create_export", "framing", config, idempotency_key="order-17") for _ in range(2)
    ]
    assert first.job_id == second.job_id


async def test_webhooks_are_managed_and_verified(clients: ClientFactory, data_dir: Path) -> None:
    allowed = {"webhook_allow_http": True, "webhook_allowed_networks": "127.0.0.0/8"}
    with serve_script(ScriptedResponse(204)) as consumer:
        async with serve_app(settings_on(free_port(), data_dir, **allowed), DurableRunner()) as server:
            client = clients.open(server.url, is_patient=True)
            options = {"events": ["export.completed"], "ed25519": True}
            endpoint = await client.call("webhooks.create", consumer.url, **options)
            updated = await client.call("webhooks.update", endpoint.id, description="billing", enabled=False)
            assert (updated.description, updated.enabled, updated.secret) == ("billing", False, None)
            await client.call("webhooks.update", endpoint.id, enabled=True)
            delivery = await client.call("webhooks.send_test", endpoint.id)
            assert (delivery.state, delivery.attempts[0].status) == ("delivered", 204)
            again = await client.call("webhooks.redeliver", endpoint.id, delivery.delivery_id)
            assert again.delivery_id == delivery.delivery_id
            listed = await client.list_items("webhooks.list_deliveries", endpoint.id)
            assert [item.delivery_id for item in listed] == [delivery.delivery_id]
            message = consumer.requests[0]
            for body, is_valid in ((message.body, True), (message.body + b" ", False)):
                verification = await client.call("webhooks.diagnose", message.headers, body)
                assert (verification.valid, verification.id) == (is_valid, endpoint.id)
            rotated = await client.call("webhooks.rotate_secret", endpoint.id)
            keys = await client.call("webhooks.get_public_keys", endpoint.id)
            assert (keys[-1], len(keys)) == (endpoint.public_key, 2)
            assert rotated.secret not in {None, endpoint.secret}
            assert [item.id for item in await client.call("webhooks.list")] == [endpoint.id]
            assert await client.call("webhooks.recover", endpoint.id, datetime.now(UTC)) == 0
            link = await client.call("webhooks.create_portal_link", 60)
            assert "/portal#token=" in link.url
            assert 0 < (link.expires_at - datetime.now(UTC)).total_seconds() <= 60
            await client.call("webhooks.delete", endpoint.id)
            with pytest.raises(NotFound):
                await client.call("webhooks.get", endpoint.id)
    request = consumer.requests[0]
    event = framehook.verify_webhook(request.body, request.headers, endpoint.secret)
    assert (event.id, event.type, event.export) == (delivery.delivery_id, "webhook.test", None)


async def test_webhooks_have_a_format_headers_and_a_rate_limit(
    clients: ClientFactory, data_dir: Path
) -> None:
    async with serve_app(settings_on(free_port(), data_dir), DurableRunner()) as server:
        client = clients.open(server.url)
        options: dict[str, Any] = {"format": "slack", "headers": {"X-Api-Key": "k", "X-Old": "o"}}
        created = await client.call("webhooks.create", "https://1.1.1.1/hook", rate_limit=50, **options)
        changes: dict[str, Any] = {"format": "standard", "headers": {"x-old": None}, "rate_limit": 0}
        changed = await client.call("webhooks.update", created.id, **changes)
        kept = await client.call("webhooks.update", created.id, description="mine")
        statistics = await client.call("webhooks.get_statistics", created.id)
    assert (created.format, created.header_names, created.rate_limit) == ("slack", ("X-Api-Key", "X-Old"), 50)
    assert (changed.format, changed.header_names, changed.rate_limit) == ("standard", ("X-Api-Key",), None)
    assert (kept.format, kept.header_names, kept.rate_limit) == ("standard", ("X-Api-Key",), None)
    assert (statistics.attempts, statistics.success_rate, statistics.backlog) == (0, None, 0)


async def test_an_expired_token_is_replaced_by_a_new_one(clients: ClientFactory, data_dir: Path) -> None:
    settings = settings_on(free_port(), data_dir, auth_jwt_secret=JWT_SECRET)
    tokens = [token(exp=int(time.time()) - 3600), token(), token()]
    async with serve_app(settings, DurableRunner()) as server:
        client = clients.open(server.url, lambda: tokens.pop(0))
        job = await create_export(client)
        assert len(tokens) == 1
        await client.call("cancel", job)
        assert [export.status for export in await client.list_items("watch", job)] == ["cancelled"]
        with pytest.raises(Unauthenticated):
            await clients.open(server.url).call("get", job)


async def test_a_wait_that_is_cancelled_leaves_no_connection_behind(
    server: LiveServer, tmp_path: Path
) -> None:
    async with framehook.AsyncClient(server.url) as client:
        job = await create_export(AnyClient(client))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await client.wait(job)
        http: Any = client._http.transport
        assert all(connection.is_idle() for connection in http._http._transport._pool.connections)


async def test_an_erased_export_is_gone_and_ends_its_watch(
    clients: ClientFactory, server: LiveServer
) -> None:
    client = clients.open(server.url)
    job = await create_export(client)
    watching = Watching(client, job)
    await watching.until(lambda export: export.job_id == job.job_id)
    for _ in range(2):
        await client.call("purge", job)
    with pytest.raises(Gone):
        await watching.ended
    with pytest.raises(Gone):
        await client.call("get", job)
