"""`eta_seconds` and `eta_high_seconds` of a job, from its submission to its end."""

import math
from collections.abc import Mapping
from typing import Any

import pytest

from callbacks.envelope import Phase
from service.forecast.rates import Prediction
from service.jobs.models import Job, Status
from service.jobs.serializers import JobSerializer, QueuePlace
from tests.support.job_factory import submission_for

NOW = 1_000.0
FORECAST: Mapping[str, Any] = {"forecast_seconds": 100.0, "forecast_high_seconds": 150.0}
RUNNING: Mapping[str, Any] = {
    "status": Status.PROCESSING,
    "phase": Phase.PROCESSING,
    "spawned_at": NOW - 60,
    "started_at": NOW - 59,
    "heartbeat_at": NOW - 10,
}


def etas(ahead_seconds: float | None = 0.0, **columns: Any) -> tuple[float | None, float | None]:
    """Return both figures of a job with these columns, a pending one without them."""
    usual = {"status": Status.PENDING, "phase": Phase.QUEUED, "runner": "local", "created_at": NOW}
    job = Job(**(submission_for("a").__dict__ | usual | columns))
    place: QueuePlace = {"position": 1, "ahead_seconds": ahead_seconds, "limited_by": None}
    shown = JobSerializer("", lambda _job: place, lambda seconds: Prediction(seconds, 3 * seconds)).to_dict(
        job
    )
    return shown["eta_seconds"], shown["eta_high_seconds"]


def test_nothing_is_known_of_an_export_without_a_forecast() -> None:
    assert etas() == etas(**RUNNING) == (None, None)


def test_a_pending_export_has_its_forecast() -> None:
    assert etas(**FORECAST) == (100.0, 150.0)


def test_a_pending_export_waits_for_those_ahead_first() -> None:
    eta, high = etas(30.0, **FORECAST)
    assert eta == 130.0
    assert high == pytest.approx(130 + math.hypot(60, 50), abs=0.1)


def test_nothing_is_known_of_an_export_whose_start_can_not_be_foreseen() -> None:
    assert etas(None, **FORECAST) == (None, None)


def test_what_is_left_counts_from_the_latest_report() -> None:
    eta, high = etas(**FORECAST, **RUNNING)
    assert eta is not None
    assert high is not None
    assert 50 <= eta < 60  # 50 s of its 100 s have passed
    assert 90 < high <= 101


def test_the_measure_of_a_run_is_taken_where_there_is_no_forecast() -> None:
    eta, high = etas(**RUNNING, progress=50.0, eta_seconds=50.0)
    assert eta == pytest.approx(50, rel=0.05)
    assert high is not None
    assert high > 50


def test_both_agree_on_what_is_left() -> None:
    slow, _ = etas(**FORECAST, **RUNNING, progress=25.0, eta_seconds=150.0)
    assert slow is not None
    assert 60 < slow < 150


@pytest.mark.parametrize("measured", [{}, {"progress": 25.0, "eta_seconds": 150.0}])
def test_a_clock_that_was_set_ahead_makes_no_run_late(measured: Mapping[str, Any]) -> None:
    usual = etas(**FORECAST, **RUNNING, **measured)
    ahead = {**RUNNING, "heartbeat_at": NOW - 10 + 86_400, "gpu_seconds": 69.0, "gpu_seconds_before": 20.0}
    assert etas(**FORECAST, **ahead, **measured) == usual


@pytest.mark.parametrize("status", [Status.COMPLETE, Status.ERROR, Status.CANCELLED])
def test_an_export_that_has_ended_has_no_time_left(status: Status) -> None:
    assert etas(**{**FORECAST, **RUNNING, "status": status, "phase": Phase.DONE}) == (None, None)
