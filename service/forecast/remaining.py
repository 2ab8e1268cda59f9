"""What is left of a run that works: its forecast and its own measure, each as far as it is known to be right."""

import math
from statistics import NormalDist

from callbacks.sender import HEARTBEAT_SECONDS
from service.forecast.rates import HIGH, Prediction

_NORMAL = NormalDist()
_HIGH_DEVIATIONS = _NORMAL.inv_cdf(HIGH)
_MEASURE_DEVIATION = 0.3
"""Deviation of the logarithm of a run's whole time by its own measure, when it has just begun; it falls to none.

After a third, the time left is then wrong by a fifth, as `make bench ARGS=eta` has measured.
"""
_SMALLEST_SPREAD = 0.02
_LATEST_DEVIATIONS = 2.0
"""A run that takes longer than its estimate is as late as few runs are, however late: there is always time left."""


def measure_run(started_at: float, reported_at: float, own_seconds: float) -> float:
    """Return for how many seconds a run had worked at its latest report.

    The times are on the wall clock of the service, which may have been set since. `own_seconds` is what the run has
    measured by itself, with the time of other machines that work for it; 0 if it says nothing.
    """
    seconds = max(0.0, reported_at - started_at)
    return min(seconds, own_seconds) if own_seconds > 0 else seconds


def measure_silence(reported_at: float, now: float) -> float:
    """Return the seconds since the latest report of a run that lives: the clock may have been set since."""
    return min(max(0.0, now - reported_at), HEARTBEAT_SECONDS)


def predict_remaining(
    forecast: Prediction | None, *, elapsed: float, fraction: float, measured: float | None
) -> Prediction | None:
    """Return the seconds that are left of a run; None if nothing is known of them.

    `elapsed` are the seconds since its start and `fraction` is its progress (0 to 1); `measured` are the seconds that
    are left as the run itself measures them. Both estimates of the whole are weighted by how sure they are, and what
    the run has taken already is no longer possible as its whole: a late run gets more time, not none.
    """
    estimates = []
    if forecast is not None:
        spread = math.log(forecast.p90 / forecast.p50) / _HIGH_DEVIATIONS
        estimates.append((math.log(forecast.p50), max(spread, _SMALLEST_SPREAD)))
    if measured is not None:
        whole = max(elapsed + measured, 1e-3)
        left = measured / whole
        spread = _MEASURE_DEVIATION * left * (1 - min(max(fraction, 0.0), 1.0))
        estimates.append((math.log(whole), max(spread, _SMALLEST_SPREAD)))
    if not estimates:
        return None
    weights = [spread**-2 for _, spread in estimates]
    centre = sum(weight * mean for weight, (mean, _) in zip(weights, estimates, strict=True)) / sum(weights)
    spread, passed = sum(weights) ** -0.5, 0.0
    if elapsed > 0:
        centre = max(centre, math.log(elapsed) - _LATEST_DEVIATIONS * spread)
        passed = NormalDist(centre, spread).cdf(math.log(elapsed))
    whole_run = NormalDist(centre, spread)
    return Prediction(*(_quantile(whole_run, passed, share) - elapsed for share in (0.5, HIGH)))


def _quantile(whole_run: NormalDist, passed: float, share: float) -> float:
    """Return the seconds within which that share of the runs end that have not ended yet."""
    return math.exp(whole_run.inv_cdf(passed + share * (1 - passed)))
