"""Which stretch of the source is shown when, and at what speed: pure arithmetic on seconds."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from gpu.config import Span, SpeedSegment
from gpu.errors import ExportError

FINE_TIME_BASE = Fraction(1, 90_000)
MIN_OUTPUT_SECONDS, MAX_OUTPUT_SECONDS = 0.001, 24 * 3_600.0
_SLOWEST = Fraction(1)
# Players and editors round the length, or count the sound's: so much past the end is the end.
_PAST_END_SECONDS = 0.5
_DECIMALS_OFF = 0.005
# How early a frame may be shown, in output frames: millisecond clocks round frames to either side of their slot, and
# no usual pair of frame rates has frames that fall on this fraction of one.
EARLY = 0.3


@dataclass(frozen=True)
class SpeedSpan:
    """A stretch of the source, in seconds, played at one speed."""

    start: float
    end: float
    speed: float = 1.0

    @property
    def output_seconds(self) -> float:
        """How long it plays, in seconds of output."""
        return (self.end - self.start) / self.speed


@dataclass(frozen=True)
class Clock:
    """The output's frames: one every 1/`rate` second, or (`steady` false) whenever the source has one."""

    rate: Fraction
    steady: bool

    @property
    def time_base(self) -> Fraction:
        return 1 / self.rate if self.steady else FINE_TIME_BASE


def resolve_trim(film_start: float, duration: float, trim: Span | None) -> tuple[float, float]:
    """The stretch to export, not beginning before `film_start`.

    Raises ExportError: clip_outside_source, if the source doesn't reach that far.
    """
    if trim is None:
        return film_start, duration
    if trim.start >= duration or trim.end > duration + _PAST_END_SECONDS:
        raise ExportError(
            "clip_outside_source", f"The clip ends after the source, which is {duration:.2f} s long."
        )
    end = min(trim.end, duration)
    return max(trim.start, film_start) if film_start < end else trim.start, end


def split_by_speed(start: float, end: float, segments: Sequence[SpeedSegment]) -> tuple[SpeedSpan, ...]:
    """The stretch cut at its speed segments; what no segment covers plays at speed 1, and equal neighbours are one."""
    cut: list[SpeedSpan] = []
    for piece in _cut(start, end, segments):
        if cut and cut[-1].speed == piece.speed:
            cut[-1] = SpeedSpan(cut[-1].start, piece.end, piece.speed)
        elif piece.end > piece.start:
            cut.append(piece)
    lasting = sum(piece.output_seconds for piece in cut)
    if lasting < MIN_OUTPUT_SECONDS:
        raise ExportError("output_too_short", "The export would be shorter than a thousandth of a second.")
    if lasting > MAX_OUTPUT_SECONDS:
        raise ExportError("output_too_long", "The export would be longer than 24 hours.")
    return tuple(cut)


def _cut(start: float, end: float, segments: Sequence[SpeedSegment]) -> Iterator[SpeedSpan]:
    position = start
    for segment in segments:
        low, high = max(segment.start, position), min(segment.end, end)
        if high > low:
            yield SpeedSpan(position, low)
            yield SpeedSpan(low, high, segment.speed)
            position = high
    yield SpeedSpan(position, end)


def select_clock(
    fps: float | None, source_rate: Fraction, variable: bool, spans: Sequence[SpeedSpan]
) -> Clock:
    """The rate asked for, else the source's; frame times of a variable source are kept unless speeds change.

    So are those of a source slower than a frame a second: its frames last too long to be counted in whole ones.
    """
    if fps is not None:
        return Clock(rate_from_fps(fps), steady=True)
    return source_clock(source_rate, variable=variable, steady=any(span.speed != 1 for span in spans))


def source_clock(source_rate: Fraction, *, variable: bool, steady: bool) -> Clock:
    """The clock of a source's own frames; `steady` where its frame times can't be kept."""
    rate = max(source_rate, _SLOWEST)
    return Clock(rate, steady=steady or (rate == source_rate and not variable))


def rate_from_fps(fps: float) -> Fraction:
    """The frame rate that a decimal stands for: 29.97 is 30000/1001."""
    broadcast = Fraction(round(fps * 1.001) * 1_000, 1_001)
    return (
        broadcast if abs(float(broadcast) - fps) < _DECIMALS_OFF else Fraction(fps).limit_denominator(1_001)
    )


def compute_output_seconds(cut: Sequence[SpeedSpan], ticking: Clock) -> float:
    """Seconds of output: whole frames on a steady clock."""
    seconds = sum(piece.output_seconds for piece in cut)
    return float(_count_slots(cut, ticking) / ticking.rate) if ticking.steady else seconds


def _count_slots(cut: Sequence[SpeedSpan], ticking: Clock) -> int:
    """How many frames a steady clock has: those whose latest source time lies before the end, and at least one.

    So the last frame of a source is shown wherever the first one lies between the clock's.
    """
    return max(1, math.ceil(sum(piece.output_seconds for piece in cut) * ticking.rate - EARLY))


def latest_source_times(cut: Sequence[SpeedSpan], ticking: Clock) -> Iterator[float]:
    """For each frame of a steady clock, the latest source time that it may show."""
    current, begun = 0, 0.0
    for number in range(_count_slots(cut, ticking)):
        at = float(number / ticking.rate)
        while current < len(cut) - 1 and at >= begun + cut[current].output_seconds - 1e-9:
            begun += cut[current].output_seconds
            current += 1
        piece = cut[current]
        yield piece.start + (at - begun + EARLY / float(ticking.rate)) * piece.speed
