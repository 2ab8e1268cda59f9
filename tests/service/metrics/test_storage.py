"""Operators see whether the storage works, and which of its calls fail."""

import asyncio
import errno
from pathlib import Path

import pytest

from infra.storage import StorageForbidden, StorageUnavailable
from infra.storage.client import Bucket
from infra.storage.s3 import S3Storage
from service.metrics.storage import StorageMetrics, StorageWatch, measure_storage
from tests.service.metrics.samples import scrape
from tests.support.app_harness import AppHarness
from tests.support.s3_server import S3Server

pytestmark = pytest.mark.anyio


def is_up(metrics: StorageMetrics) -> float:
    (gauge,) = metrics.up.collect()
    return gauge.samples[0].value


def errors(metrics: StorageMetrics) -> dict[tuple[str, str], float]:
    """Return the failed calls by operation and error."""
    (counter,) = metrics.errors.collect()
    counts = [sample for sample in counter.samples if sample.name.endswith("_total") and sample.value]
    return {(sample.labels["operation"], sample.labels["error"]): sample.value for sample in counts}


async def test_a_folder_that_is_gone_is_seen_and_counted(
    app: AppHarness, caplog: pytest.LogCaptureFixture
) -> None:
    samples = await scrape(app.client)
    assert samples.value("storage_up") == 1
    assert samples.value("loop_up", loop="storage") == 1
    incoming = app.settings.data_dir / "incoming"
    incoming.rename(incoming.with_name("unmounted"))
    metrics = app.state["metrics"].storage
    watch = StorageWatch(app.state["storage"].check, metrics)
    await watch.check_once()
    await watch.check_once()
    samples = await scrape(app.client)
    assert samples.value("storage_up") == 0
    assert samples.value("storage_errors_total", operation="check", error="disk_failed") == 2
    incoming.with_name("unmounted").rename(incoming)
    await watch.check_once()
    assert (await scrape(app.client)).value("storage_up") == 1
    events = [record.__dict__.get("event") for record in caplog.records if record.name == "framehook.storage"]
    assert events == ["storage.lost", "storage.restored"]


async def test_a_full_disk_is_told_from_one_that_is_gone(
    app: AppHarness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def find_no_room(_path: Path, _content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", find_no_room)
    await StorageWatch(app.state["storage"].check, app.state["metrics"].storage).check_once()
    samples = await scrape(app.client)
    # The service may have made its own check at the same time.
    assert samples.value("storage_errors_total", operation="check", error="disk_full") >= 1
    assert "the storage fails its check: the disk of the data folder is full" in caplog.messages


async def test_what_the_service_writes_itself_is_counted(app: AppHarness) -> None:
    body = {"filename": "a.mp4", "size": 5, "content_type": "video/mp4"}
    target = (await app.client.post("/api/uploads", json=body)).json()
    incoming = app.settings.data_dir / "incoming"
    incoming.rename(incoming.with_name("unmounted"))
    answer = await app.client.put(target["url"], content=b"video", headers=target["headers"])
    assert answer.status_code >= 500
    assert (await scrape(app.client)).value("storage_errors_total", operation="receive") == 1


async def test_calls_that_a_bucket_refuses_are_counted_by_operation_and_code(s3_server: S3Server) -> None:
    bucket = Bucket(s3_server.client_config(), attempts=1)
    await bucket.create()
    metrics = StorageMetrics()
    storage = measure_storage(S3Storage(bucket), metrics)
    assert await storage.find("ada", "a.mp4") is None
    assert errors(metrics) == {}
    s3_server.faults.forbidden = True
    with pytest.raises(StorageForbidden):
        await storage.find("ada", "a.mp4")
    s3_server.faults.forbidden, s3_server.faults.busy_responses = False, 1
    with pytest.raises(StorageUnavailable):
        await storage.delete("ada", "a.mp4")
    await storage.close()
    assert errors(metrics) == {("find", "storage_forbidden"): 1, ("delete", "storage_unavailable"): 1}


async def test_a_storage_that_hangs_is_down_and_gets_no_second_check() -> None:
    metrics, checks, answered = StorageMetrics(), [], asyncio.Event()

    async def check() -> None:
        checks.append("check")
        await answered.wait()

    watch = StorageWatch(check, metrics, limit_seconds=0.01)
    await watch.check_once()
    await watch.check_once()
    assert (is_up(metrics), checks) == (0, ["check"])
    answered.set()
    await watch.check_once()
    assert (is_up(metrics), checks) == (1, ["check"])
    await watch.check_once()
    assert checks == ["check", "check"]


async def test_a_bug_in_a_check_is_no_outage_and_ends_the_loop() -> None:
    async def check() -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError):
        await StorageWatch(check, StorageMetrics()).check_once()
