"""The use cases of exports, called as the routes call them, without HTTP."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gpu.export_types.registry import parse_config
from infra.database.base import Database
from infra.egress import EgressClient, EgressPolicy
from infra.storage import FolderStorage
from service.clock import Clock
from service.costs.control import Budgets
from service.exports.forecasts import RunForecasts
from service.exports.intake import Intake
from service.exports.models import ExportLimits, ExportRequest, Idempotency
from service.exports.service import ExportService
from service.forecast.forecaster import Forecaster
from service.jobs import transitions
from service.jobs.models import Job, Status
from service.problems import AlreadyFinished, Invalid, NotFound, NotRetryable, OutputKeyInUse, QuotaExceeded
from tests.support.app_harness import FRAMING, SOURCE
from tests.support.fakes import ThreadProber
from tests.support.job_factory import FakeChanges, fetch_jobs

pytestmark = pytest.mark.anyio


@pytest.fixture
def published() -> list[Job]:
    return []


@pytest.fixture
async def exports(
    any_database: Database, tmp_path: Path, published: list[Job]
) -> AsyncIterator[ExportService]:
    storage = FolderStorage(tmp_path / "storage")
    for user_id in ("ada", "bob"):
        path = storage.local_path(user_id, SOURCE)
        path.parent.mkdir(parents=True)
        path.write_bytes(b"video")
    egress = EgressClient(EgressPolicy())
    limits = ExportLimits(
        runner="local", max_queued=3, attempt_limit=2, head_start_seconds=600, max_schedule_days=30
    )
    forecasts = RunForecasts(
        any_database, storage, ThreadProber(), Forecaster(any_database, Clock(), "local")
    )
    budgets = Budgets(any_database)
    intake = Intake(storage, egress, budgets, forecasts, limits, time.time)
    yield ExportService(any_database, intake, FakeChanges(published.append), budgets, limits=limits)
    await egress.close()


def export_request(**changes: object) -> ExportRequest:
    raw = {"input_key": SOURCE, **FRAMING} | changes
    return ExportRequest("framing", parse_config("framing", raw), raw)


async def test_a_submitted_export_is_stored_and_published(
    exports: ExportService, any_database: Database, published: list[Job]
) -> None:
    submitted = await exports.submit("ada", export_request())
    assert published == [submitted.job]
    assert submitted.endpoint is None
    assert list(await fetch_jobs(any_database)) == [submitted.job.job_id]
    assert await exports.get("ada", submitted.job.job_id) == submitted.job
    with pytest.raises(NotFound):
        await exports.get("bob", submitted.job.job_id)


async def test_requests_with_one_idempotency_key_at_the_same_time_make_one_export(
    exports: ExportService, any_database: Database, published: list[Job]
) -> None:
    idempotency = Idempotency("a-key", "a hash")
    results = await asyncio.gather(*(exports.submit("ada", export_request(), idempotency) for _ in range(4)))
    assert len({result.job.job_id for result in results}) == 1
    assert len(await fetch_jobs(any_database)) == len(published) == 1
    with pytest.raises(Invalid):
        await exports.submit("ada", export_request(), Idempotency("a-key", "another hash"))


async def test_a_quota_is_never_exceeded_and_is_each_users_own(exports: ExportService) -> None:
    results = await asyncio.gather(
        *(exports.submit("ada", export_request()) for _ in range(5)), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == ["QuotaExceeded"] * 2 + ["Submitted"] * 3
    assert (await exports.submit("bob", export_request())).job.status is Status.PENDING
    with pytest.raises(QuotaExceeded):
        await exports.submit("ada", export_request())


async def test_an_output_key_belongs_to_one_export(exports: ExportService, published: list[Job]) -> None:
    named = export_request(output_key="exports/final.mp4")
    first = (await exports.submit("ada", named)).job
    with pytest.raises(OutputKeyInUse):
        await exports.submit("ada", named)
    await exports.cancel("ada", first.job_id)
    await exports.submit("ada", named)
    with pytest.raises(OutputKeyInUse):
        await exports.retry("ada", first.job_id)
    assert [job.status for job in published] == ["pending", "cancelled", "pending"]


async def test_an_unusable_output_key_is_rejected(exports: ExportService) -> None:
    for output_key in ("uploads/mine.mp4", f"{SOURCE}/inside.mp4"):
        with pytest.raises(Invalid) as rejected:
            await exports.submit("ada", export_request(output_key=output_key))
        assert rejected.value.errors[0]["loc"] == ["config", "output_key"]
    with pytest.raises(Invalid) as rejected:
        await exports.submit("ada", export_request(input_key="uploads/none.mp4"))
    assert rejected.value.errors[0]["loc"] == ["config", "input_key"]


async def test_cancelling_twice_changes_nothing_more(exports: ExportService, published: list[Job]) -> None:
    job = (await exports.submit("ada", export_request())).job
    cancelled = await exports.cancel("ada", job.job_id)
    assert (cancelled.status, cancelled.sequence) == (Status.CANCELLED, 2)
    assert await exports.cancel("ada", job.job_id) == cancelled
    assert published == [job, cancelled]
    with pytest.raises(NotFound):
        await exports.cancel("bob", job.job_id)


async def test_only_a_job_that_has_ended_without_success_can_be_retried(
    exports: ExportService, published: list[Job]
) -> None:
    job = (await exports.submit("ada", export_request())).job
    with pytest.raises(NotRetryable):
        await exports.retry("ada", job.job_id)
    await exports.cancel("ada", job.job_id)
    retried = await exports.retry("ada", job.job_id)
    assert (retried.status, retried.attempt) == (Status.PENDING, 2)
    assert published[-1] == retried
    with pytest.raises(NotFound):
        await exports.retry("bob", job.job_id)


async def test_an_export_can_have_an_endpoint_of_its_own(exports: ExportService) -> None:
    request = export_request()
    url = "https://93.184.215.14/hook"
    submitted = await exports.submit(
        "ada", ExportRequest(request.type, request.config, request.raw_config, webhook_url=url)
    )
    assert submitted.endpoint is not None
    assert (submitted.endpoint.url, submitted.endpoint.job_id) == (url, submitted.job.job_id)
    with pytest.raises(Invalid):
        await exports.submit(
            "ada",
            ExportRequest(request.type, request.config, request.raw_config, webhook_url="https://127.0.0.1/"),
        )


async def test_a_finished_export_cannot_be_cancelled(exports: ExportService, any_database: Database) -> None:
    job = (await exports.submit("ada", export_request())).job
    async with any_database.transaction() as session:
        assert await transitions.fail(session, job, "broken", "It broke.", now=job.created_at + 1)
    with pytest.raises(AlreadyFinished):
        await exports.cancel("ada", job.job_id)
