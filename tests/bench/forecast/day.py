"""A generated day of exports: who submits what and when, and how long each run takes on machines that drift.

A run takes what its pixels take on this day's machines, whose rates differ from the shipped ones: by the codec, the
quality and the type, by how busy the pictures of a source are, by the hour, by two hours with a busy neighbour, by
chance, and sometimes because it stalls. In the afternoon the service moves to machines with a GPU. None of this is
known to the learner.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from gpu.config import Codec, Quality
from service.forecast.defaults import usual_seconds
from service.forecast.work import Work

DAY_SECONDS = 86_400.0
LOCAL, GPU = "local", "modal/L4"
_SIZES = ((1280, 720), (1920, 1080), (1920, 1080), (3840, 2160))
_RATES = (24.0, 25.0, 30.0, 30.0, 50.0, 60.0)
_SOURCES = ("h264", "h264", "h264", "hevc", "hevc", "vp9", "av1", "mpeg4")
_TYPES = ("framing", "framing", "overlay", "annotate")
_CODECS = (*(Codec.H264,) * 7, Codec.HEVC, Codec.HEVC, Codec.AV1)
_QUALITIES = (Quality.DRAFT, Quality.STANDARD, Quality.STANDARD, Quality.HIGH)
_PARALLELISM = (1, 1, 1, 1, 4, 8)
_MOVE_AT, _BUSY = 0.6 * DAY_SECONDS, (9.0 * 3_600, 11.0 * 3_600)


@dataclass(frozen=True)
class Source:
    """A film that a user exports from; `detail` is how much longer its pictures take than those of others."""

    seconds: float
    megapixels_per_second: float
    codec: str
    detail: float


@dataclass(frozen=True)
class Submission:
    """An export of the day; `luck` is how much longer its run takes for no known reason."""

    at: float
    user_id: str
    work: Work
    detail: float
    luck: float


class Day:
    """The submissions of a day in their order, and the machines that run them; the same seed gives the same day."""

    def __init__(self, seed: int, exports: int, users: int = 12) -> None:
        self._random = random.Random(seed)  # noqa: S311 - chance, not secrecy
        self._speeds = self._draw_speeds()
        films = {f"user-{number:02}": self._draw_films() for number in range(users)}
        self.submissions: Sequence[Submission] = sorted(
            (self._draw_submission(films) for _ in range(exports)), key=lambda submission: submission.at
        )

    def run_seconds(self, submission: Submission, begun: float) -> float:
        """Return how long a run takes that begins at a time of the day."""
        work, speeds = submission.work, self._speeds
        factors = [
            speeds[work.runner],
            speeds[work.type],
            speeds[f"{work.runner} {work.codec} {work.quality}"],
            speeds[f"from {work.source_codec}"],
        ]
        if work.runner == GPU:
            factors.append(work.parallelism**-0.8)
        factors += [self._drift(begun), submission.detail, submission.luck]
        return usual_seconds(work) * math.prod(factors)

    def _drift(self, at: float) -> float:
        hour = at / 3_600
        slow = 0.12 * math.sin(hour / 3.1) + 0.06 * math.sin(hour * 1.7 + 1)
        return math.exp(slow) * (1.5 if _BUSY[0] <= at < _BUSY[1] else 1.0)

    def _draw_speeds(self) -> dict[str, float]:
        speeds = {LOCAL: self._spread(0.6), GPU: 0.25 * self._spread(0.3)}
        speeds |= {kind: self._spread(0.2) for kind in (*_TYPES, *(f"from {codec}" for codec in _SOURCES))}
        for runner, codec, quality in product((LOCAL, GPU), Codec, Quality):
            speeds[f"{runner} {codec} {quality}"] = self._spread(0.35)
        return speeds

    def _draw_films(self) -> Sequence[Source]:
        return [self._draw_film() for _ in range(self._random.randint(3, 12))]

    def _draw_film(self) -> Source:
        width, height = self._random.choice(_SIZES)
        rate = self._random.choice(_RATES)
        seconds = min(max(60 * self._spread(1.0), 4.0), 1_800.0)
        codec = self._random.choice(_SOURCES)
        return Source(seconds, rate * width * height / 1e6, codec, self._spread(0.12))

    def _draw_submission(self, films: dict[str, Sequence[Source]]) -> Submission:
        # The first users export most, and nearly all of it in the daytime.
        user_id = list(films)[int(len(films) * self._random.random() ** 2)]
        at = DAY_SECONDS * (
            self._random.betavariate(2.5, 2.5) if self._random.random() < 0.9 else self._random.random()
        )
        film = self._random.choice(films[user_id])
        share, scale = self._random.uniform(0.1, 1.0), self._random.choice((0.25, 0.5, 1.0))
        work = Work(
            type=self._random.choice(_TYPES),
            runner=LOCAL if at < _MOVE_AT else GPU,
            codec=self._random.choice(_CODECS),
            quality=self._random.choice(_QUALITIES),
            source_codec=film.codec,
            parallelism=self._random.choice(_PARALLELISM),
            source_megapixels=share * film.seconds * film.megapixels_per_second,
            output_megapixels=share * film.seconds * film.megapixels_per_second * scale,
        )
        stall = self._random.uniform(1.5, 3.0) if self._random.random() < 0.02 else 1.0
        return Submission(at, user_id, work, film.detail, self._spread(0.08) * stall)

    def _spread(self, deviation: float) -> float:
        return math.exp(self._random.gauss(0.0, deviation))
