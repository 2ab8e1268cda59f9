"""What is left of a run, from its forecast and from its own measure."""

import pytest

from service.forecast.rates import Prediction
from service.forecast.remaining import predict_remaining

FORECAST = Prediction(100.0, 150.0)


def seconds_left(
    elapsed: float, fraction: float, measured: float | None, forecast: Prediction | None = FORECAST
) -> Prediction:
    remaining = predict_remaining(forecast, elapsed=elapsed, fraction=fraction, measured=measured)
    assert remaining is not None
    return remaining


def test_a_run_that_begins_has_its_forecast() -> None:
    remaining = seconds_left(0.0, 0.0, None)
    assert (remaining.p50, remaining.p90) == pytest.approx((FORECAST.p50, FORECAST.p90))


def test_nothing_is_invented() -> None:
    assert predict_remaining(None, elapsed=5.0, fraction=0.5, measured=None) is None


def test_without_a_forecast_the_run_is_taken_by_its_word_within_its_error() -> None:
    remaining = seconds_left(50.0, 0.5, 50.0, forecast=None)
    assert remaining.p50 == pytest.approx(50.0, rel=0.05)
    assert 50.0 < remaining.p90 < 75.0


def test_the_measure_of_a_run_counts_more_the_further_it_is() -> None:
    early, late = seconds_left(10.0, 0.05, 190.0), seconds_left(180.0, 0.9, 20.0)
    assert 90 < early.p50 < 190  # between what is left of the forecast and the measure
    assert late.p50 == pytest.approx(20.0, rel=0.1)
    assert late.p90 - late.p50 < early.p90 - early.p50


@pytest.mark.parametrize("elapsed", [99.0, 200.0, 2_000.0, 1e6])
def test_a_run_that_takes_longer_than_its_forecast_still_has_time_seconds_left(elapsed: float) -> None:
    remaining = seconds_left(elapsed, 0.99, None)
    assert 0 < remaining.p50 < remaining.p90 < elapsed
