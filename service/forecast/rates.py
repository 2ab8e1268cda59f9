"""Learn how much longer runs take than the shipped figures say, by kind of run.

The logarithm of a run's time over its usual time is a sum: of what its runner adds, its type, its encoding, the codec
of its source, its parallelism and its length, and the combination of them all. After each run all of these move a
little towards it: the runner's quickly, as the load of a machine changes, the others slowly, so that they keep what is
true at any load. A kind without runs adds nothing, so the first run of a combination is forecast by its properties.

The spread of a forecast is the variance of the errors that forecasts of these kinds have had. How many of these spreads
the upper figure is above the median is learned as well: more after each run that took longer, a ninth as much less
after each other run, so that in the long run nine of ten runs end before it, for errors of any shape.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from service.forecast.defaults import usual_seconds
from service.forecast.work import Work

HIGH = 0.9
"""The share of runs that end within the upper figure of their forecast."""
FORGET_SECONDS = 90 * 86_400.0
_NORMAL_FACTOR = 1.2816  # 90 % of a normal distribution are below its mean plus so many deviations
_FACTORS = (0.3, 4.0)
_FACTOR_STEP = 0.1
_DEFAULT_VARIANCE = math.log(2.0) ** 2  # before the first run of a runner, whose speed is unknown
_LARGEST_ERROR = 1.5  # a run that stalled teaches no more than one that took 4.5 times as long
_HALF_LIFE_SECONDS = 2 * 86_400.0
# In the order of the kinds of a subject: how many runs count at most, and how many runs of doubt a kind begins with.
_MEMORIES = (12.0, 60.0, 60.0, 60.0, 60.0, 60.0, 60.0)
_DOUBTS = (0.5, 4.0, 2.0, 4.0, 4.0, 4.0, 6.0)


@dataclass(frozen=True)
class Prediction:
    """How long a run takes, in seconds: half of them end within `p50`, nine of ten within `p90`."""

    p50: float
    p90: float


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """What was learned of a kind of run: a row of `run_rates`.

    `log_ratio` is added to the logarithm of the usual seconds, `variance` is that of forecasts of the kind, `weight`
    the number of runs behind both, of which older ones count less. `factor` is used of the runner's kind alone.
    """

    kind: str
    log_ratio: float = 0.0
    variance: float = _DEFAULT_VARIANCE
    weight: float = 0.0
    factor: float = _NORMAL_FACTOR
    learned_at: float = 0.0

    def age(self, now: float) -> "Rate":
        """Return the rate with the weight that it has at a time."""
        left = math.exp2(-max(now - self.learned_at, 0.0) / _HALF_LIFE_SECONDS)
        return msgspec.structs.replace(self, weight=self.weight * left)


class Subject(NamedTuple):
    """What is forecast: its kinds, from the runner's to the one of all its properties, and what is usual for it."""

    kinds: Sequence[str]
    usual_seconds: float


def run_of(work: Work) -> Subject:
    """Return a run as what is forecast; each of its properties is a kind, and so is their combination."""
    usual = usual_seconds(work)
    encoding, source = f"{work.codec} {work.quality}", f"from {work.source_codec}"
    workers, length = f"in {(work.parallelism - 1).bit_length()}", f"of {_name_length(usual)}"
    exact = f"{work.type} {encoding} {source} {workers}"
    properties = (work.type, encoding, source, workers, length, exact)
    return Subject((work.runner, *(f"{work.runner}: {name}" for name in properties)), usual)


def wait_of(runner: str, foreseen_seconds: float) -> Subject:
    """Return a wait in the queue as what is forecast; what comes to it is what joins the queue ahead of it."""
    kind = f"{runner} waits"
    return Subject((kind, f"{kind}: of {_name_length(foreseen_seconds)}"), max(foreseen_seconds, 1e-3))


def _name_length(seconds: float) -> int:
    return min(max(round(math.log2(max(seconds, 1.0))), 0), 16)


class RateBook:
    """The rates of all kinds, in memory; predicting and learning look up those of one run."""

    def __init__(self, rates: Iterable[Rate] = ()) -> None:
        self._rates = {rate.kind: rate for rate in rates}

    def merge(self, rates: Iterable[Rate]) -> None:
        """Take rates over that were learned later than those in here."""
        for rate in rates:
            if rate.kind not in self._rates or self._rates[rate.kind].learned_at <= rate.learned_at:
                self._rates[rate.kind] = rate

    def predict(self, subject: Subject, *, now: float) -> Prediction:
        """Forecast a run from its start to its end, or a wait."""
        rates = self._find(subject, now)
        median = math.log(subject.usual_seconds) + sum(rate.log_ratio for rate in rates)
        return Prediction(math.exp(median), math.exp(median + rates[0].factor * _spread_of(rates)))

    def learn(self, subject: Subject, seconds: float, *, now: float) -> Sequence[Rate]:
        """Learn from what was finished; return the rates that changed."""
        prediction, rates = self.predict(subject, now=now), self._find(subject, now)
        is_late = seconds > prediction.p90
        error = math.log(max(seconds, 1e-3) / prediction.p50)
        error = min(max(error, -_LARGEST_ERROR), _LARGEST_ERROR)
        limits = list(zip(rates, _MEMORIES, _DOUBTS, strict=False))
        gains = [1 / (min(rate.weight, memory) + doubt + 1) for rate, memory, doubt in limits]
        share = min(1.0, 0.9 / sum(gains))  # all together move by less than the error
        variance = _DEFAULT_VARIANCE
        changed = []
        for (rate, memory, _), gain in zip(limits, gains, strict=True):
            known = rate.variance if rate.weight else variance
            variance = known + gain * (error**2 - known)
            changed.append(
                Rate(
                    kind=rate.kind,
                    log_ratio=rate.log_ratio + share * gain * error,
                    variance=variance,
                    weight=min(rate.weight, memory) + 1,
                    factor=_move_factor(rate.factor, is_late=is_late),
                    learned_at=max(now, rate.learned_at),  # a clock that was set back hides nothing
                )
            )
        self.merge(changed)
        return changed

    def _find(self, subject: Subject, now: float) -> Sequence[Rate]:
        return [self._rates.get(kind, Rate(kind=kind, learned_at=now)).age(now) for kind in subject.kinds]


def _spread_of(rates: Sequence[Rate]) -> float:
    """Return the deviation of the logarithm of a forecast: of each kind as far as it has runs, else of those before."""
    variance = _DEFAULT_VARIANCE
    for rate, doubt in zip(rates, _DOUBTS, strict=False):
        variance = (doubt * variance + rate.weight * rate.variance) / (doubt + rate.weight)
    return math.sqrt(variance)


def _move_factor(factor: float, *, is_late: bool) -> float:
    step = _FACTOR_STEP * (HIGH if is_late else HIGH - 1)
    low, high = _FACTORS
    return min(max(factor + step, low), high)
