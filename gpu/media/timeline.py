"""Map the source's time to the output's: trims, speed segments and the frame clock."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from gpu.config import Span, SpeedSegment
from gpu.errors import ExportError

FINE_TIME_BASE = Fraction(1, 90_000)
MIN_OUTPUT_SECONDS, MAX_OUTPUT_SECONDS = 0.001, 24 * 3_600.0
_SLOWEST = Fraction(1)
# Players and editors round a video's length, or show the audio's: a trim may end this much after the source.
_PAST_END_SECONDS = 0.5
_RATE_TOLERANCE = 0.005
# How early a frame may be shown, in output frames: clocks of milliseconds round frames to either side of their slot,
# and no usual pair of frame rates has frames at this fraction of a slot.
EARLY_FRAMES = 0.3


@dataclass(frozen=True)
class SpeedSpan:
    """A span of the source, in seconds, that is played at one speed."""

    start: float
    end: float
    speed: float = 1.0

    @property
    def output_seconds(self) -> float:
        """The length of the span in seconds of output."""
        return (self.end - self.start) / self.speed


@dataclass(frozen=True)
class Clock:
    """The times of the output's frames.

    A steady clock has a frame every 1/`rate` seconds, another one where the source has one.
    """

    rate: Fraction
    steady: bool

    @property
    def time_base(self) -> Fraction:
        return 1 / self.rate if self.steady else FINE_TIME_BASE


def resolve_trim(export_start: float, duration: float, trim: Span | None) -> tuple[float, float]:
    """Return start and end of the part to export, starting at `export_start` at the earliest.

    Raises ExportError: clip_outside_source, if the source is shorter than the trim.
    """
    if trim is None:
        return export_start, duration
    if trim.start >= duration or trim.end > duration + _PAST_END_SECONDS:
        message = f"The clip ends after the source, which is {duration:.2f} s long."
        raise ExportError("clip_outside_source", message, loc=("trim",))
    end = min(trim.end, duration)
    return max(trim.start, export_start) if export_start < end else trim.start, end


def split_by_speed(start: float, end: float, segments: Sequence[SpeedSegment]) -> tuple[SpeedSpan, ...]:
    """Split a range of the source into spans of one speed each.

    Parts that no segment covers have speed 1; neighbours of the same speed are joined.
    """
    spans: list[SpeedSpan] = []
    for span in _cut_at_segments(start, end, segments):
        if spans and spans[-1].speed == span.speed:
            spans[-1] = SpeedSpan(spans[-1].start, span.end, span.speed)
        elif span.end > span.start:
            spans.append(span)
    seconds = sum(span.output_seconds for span in spans)
    loc = ("segments",) if segments else ()
    if seconds < MIN_OUTPUT_SECONDS:
        raise ExportError(
            "output_too_short", "The export would be shorter than a thousandth of a second.", loc=loc
        )
    if seconds > MAX_OUTPUT_SECONDS:
        raise ExportError("output_too_long", "The export would be longer than 24 hours.", loc=loc)
    return tuple(spans)


def _cut_at_segments(start: float, end: float, segments: Sequence[SpeedSegment]) -> Iterator[SpeedSpan]:
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
    """Return a clock of the configured rate, else of the source's.

    The frame times of a variable source are kept unless a span changes the speed. So are those of a source with less
    than one frame per second, whose frames are too long to be counted in whole ones.
    """
    if fps is not None:
        return Clock(rate_from_fps(fps), steady=True)
    return source_clock(source_rate, variable=variable, steady=any(span.speed != 1 for span in spans))


def source_clock(source_rate: Fraction, *, variable: bool, steady: bool) -> Clock:
    """Return the clock of a source's own frames; `steady` if their times can't be kept."""
    rate = max(source_rate, _SLOWEST)
    return Clock(rate, steady=steady or (rate == source_rate and not variable))


def rate_from_fps(fps: float) -> Fraction:
    """Return the exact frame rate that a decimal means: 29.97 is 30000/1001."""
    broadcast = Fraction(round(fps * 1.001) * 1_000, 1_001)
    is_broadcast = broadcast > 0 and abs(float(broadcast) - fps) < _RATE_TOLERANCE
    return broadcast if is_broadcast else Fraction(fps).limit_denominator(1_001)


def compute_output_seconds(spans: Sequence[SpeedSpan], clock: Clock) -> float:
    """Return the seconds of output, which on a steady clock are whole frames."""
    seconds = sum(span.output_seconds for span in spans)
    return float(_count_slots(spans, clock) / clock.rate) if clock.steady else seconds


def _count_slots(spans: Sequence[SpeedSpan], clock: Clock) -> int:
    """Return how many frames a steady clock has: at least one.

    A slot counts if the latest source time that it may show is before the end. So the last frame of a source is shown
    no matter how its first one is placed between the clock's slots.
    """
    return max(1, math.ceil(sum(span.output_seconds for span in spans) * clock.rate - EARLY_FRAMES))


def latest_source_times(spans: Sequence[SpeedSpan], clock: Clock) -> Iterator[float]:
    """Yield, for each frame of a steady clock, the latest source time that it may show."""
    current, span_start = 0, 0.0
    for number in range(_count_slots(spans, clock)):
        at = float(number / clock.rate)
        while current < len(spans) - 1 and at >= span_start + spans[current].output_seconds - 1e-9:
            span_start += spans[current].output_seconds
            current += 1
        span = spans[current]
        yield span.start + (at - span_start + EARLY_FRAMES / float(clock.rate)) * span.speed
