"""Forecasts of exports: from the sources that are known, added later for those that are not, learned from runs."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from msgspec.structs import replace as replace_fields

from callbacks.envelope import Phase
from gpu.export_types.registry import parse_config
from infra.database.base import Database
from infra.storage import FolderStorage
from service.clock import Clock
from service.exports.forecasts import RunForecasts
from service.exports.models import ExportRequest
from service.exports.submissions import to_submission
from service.forecast.forecaster import Forecaster
from service.jobs import queries, transitions, uploads
from service.jobs.models import Job, Status
from service.jobs.uploads import Upload
from tests.support.app_harness import EXPORTED, FRAMING
from tests.support.fakes import ThreadProber

KEY = "uploads/00000000000000000000000000000000/match.mp4"


@dataclass
class Harness:
    """Forecasts on a database and a folder."""

    database: Database
    storage: FolderStorage
    forecaster: Forecaster
    forecasts: RunForecasts

    async def submit(self, job_id: str) -> Job:
        """Store an export of the upload, as its submission does."""
        raw = {"input_key": KEY, **FRAMING}
        request = ExportRequest("framing", parse_config("framing", raw), raw)
        async with self.database.transaction() as session:
            (columns,) = await self.forecasts.find(session, "ada", [request])
            submission = replace(to_submission(job_id, "ada", request), **columns)
            job = await transitions.submit(session, submission, runner="local", attempt_limit=3, now=10.0)
            self.forecasts.add_after_commit(session, [job])
        return job

    async def load(self, job_id: str) -> Job:
        async with self.database.reading() as session:
            job = await queries.get(session, "ada", job_id)
        assert job is not None
        return job


@pytest.fixture
async def harness(any_database: Database, tmp_path: Path) -> Harness:
    storage = FolderStorage(tmp_path / "storage")
    path = storage.local_path("ada", KEY)
    path.parent.mkdir(parents=True)
    path.write_bytes(EXPORTED)
    async with any_database.transaction() as session:
        upload = Upload(user_id="ada", key=KEY, size=1, created_at=0.0, expires_at=1.0)
        await uploads.insert_upload(session, upload)
    forecaster = Forecaster(any_database, Clock(), "local")
    forecasts = RunForecasts(any_database, storage, ThreadProber(), forecaster)
    return Harness(any_database, storage, forecaster, forecasts)


async def test_the_first_export_of_an_upload_gets_its_forecast_later_and_the_next_ones_at_once(
    harness: Harness,
) -> None:
    first = await harness.submit("first")
    assert (first.work, first.forecast_seconds) == (None, None)
    await harness.forecasts.add_missing()
    stored = await harness.load("first")
    assert stored.forecast_seconds is not None
    assert stored.forecast_high_seconds is not None
    assert 0 < stored.forecast_seconds < stored.forecast_high_seconds
    known = {"work": None, "forecast_seconds": None, "forecast_high_seconds": None}
    assert replace_fields(stored, **known) == first  # the sequence is the same, so there is no event

    second = await harness.submit("second")
    assert second.work == stored.work
    assert second.forecast_seconds == pytest.approx(stored.forecast_seconds)


async def test_a_source_that_is_no_video_has_no_forecast(harness: Harness) -> None:
    path = harness.storage.local_path("ada", KEY)
    path.write_bytes(b"no video")
    await harness.submit("job")
    await harness.forecasts.add_missing()
    assert (await harness.load("job")).work is None


async def test_an_export_that_has_ended_is_left_alone(harness: Harness) -> None:
    job = await harness.submit("job")
    async with harness.database.transaction() as session:
        await transitions.cancel(session, "ada", "job", now=11.0)
    await harness.forecasts.add(job)
    assert (await harness.load("job")).work is None


async def test_a_retry_keeps_the_forecast(harness: Harness) -> None:
    await harness.forecasts.add(await harness.submit("job"))
    before = await harness.load("job")
    async with harness.database.transaction() as session:
        await transitions.cancel(session, "ada", "job", now=11.0)
        retried = await transitions.retry(session, "ada", "job", attempts=3, now=12.0)
    assert retried is not None
    assert (retried.work, retried.forecast_seconds) == (before.work, before.forecast_seconds)


async def test_the_time_of_a_run_counts_for_the_next_forecast(harness: Harness) -> None:
    await harness.forecasts.add(await harness.submit("first"))
    first = await harness.load("first")
    assert first.forecast_seconds is not None
    took = 4 * first.forecast_seconds
    ended = replace_fields(
        first,
        status=Status.COMPLETE,
        phase=Phase.DONE,
        spawned_at=20.0,
        started_at=20.5,
        completed_at=20.0 + took,
    )
    for _ in range(5):
        harness.forecasts.record_run(ended)
        for step in (-86_400.0, 86_400.0):  # a run during which the clock was set says nothing
            harness.forecasts.record_run(replace_fields(ended, completed_at=20.0 + took + step))
    await harness.forecaster.learn()
    second = await harness.submit("second")
    assert second.forecast_seconds == pytest.approx(took, rel=0.25)


async def test_a_process_takes_over_the_exports_without_a_forecast(harness: Harness) -> None:
    await harness.submit("job")
    later = RunForecasts(harness.database, harness.storage, ThreadProber(), harness.forecaster)
    await later.take_over()
    await later.add_missing()
    assert (await harness.load("job")).work is not None
