"""Which clip is on screen when: pure arithmetic on whole ticks of the output's clock, so that nothing ever drifts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

from gpu.errors import ExportError
from gpu.media.encoders import SOUND_RATE
from gpu.media.timeline import MAX_OUTPUT_SECONDS, Clock, Piece, nominal, own_clock, span
from gpu.sources.source import Source
from gpu.spec import AnnotateConfig, Clip, Span, Transition

# Of stills that last for seconds each a clip may show less than one.
_SHORTEST_RATE = Fraction(30)


@dataclass(frozen=True)
class Shot:
    """A clip with its place in the output.

    `start` is in seconds of the source; `begun`, `ticks`, `rise` and `fall` are in ticks of the output's clock: when
    the clip comes up, how long it is seen, and how much of that it takes to come and to go. `before` and `after` are
    what it shares with its neighbours: as much as `rise` and `fall` in a dissolve, nothing otherwise.
    """

    number: int
    clip: Clip
    source: Source
    start: float
    ticks: int
    begun: int = 0
    rise: int = 0
    fall: int = 0
    before: int = 0
    after: int = 0

    @property
    def title(self) -> str:
        """The clip's name, or its number where it has none."""
        return self.clip.name.strip() or f"Clip {self.number}"

    @property
    def end(self) -> int:
        """The tick after its last."""
        return self.begun + self.ticks


@dataclass(frozen=True)
class Montage:
    """Every clip in the order of the output, on one clock."""

    clock: Clock
    shots: tuple[Shot, ...]

    @property
    def ticks(self) -> int:
        return self.shots[-1].end

    def seconds(self, ticks: int) -> float:
        """A time of the output in seconds."""
        return float(ticks * self.clock.time_base)

    def samples(self, ticks: int) -> int:
        """A time of the output as a sample of its sound."""
        return round(ticks * self.clock.time_base * SOUND_RATE)

    def piece(self, shot: Shot) -> Piece:
        """The stretch of its source that a shot shows."""
        return Piece(shot.start, shot.start + self.seconds(shot.ticks))


def montage(config: AnnotateConfig, sources: Mapping[str, Source]) -> Montage:
    """Lay the clips out one after another. Raises ExportError: clip_outside_source, output_too_long."""
    ticking = _clock(config, sources)
    shots = _spaced(config.transition, ticking, list(_shots(config, sources, ticking)))
    laid = Montage(ticking, tuple(shots))
    if laid.seconds(laid.ticks) > MAX_OUTPUT_SECONDS:
        raise ExportError("output_too_long", "The export would be longer than 24 hours.")
    return laid


def _clock(config: AnnotateConfig, sources: Mapping[str, Source]) -> Clock:
    """The rate asked for, else the first source's; uneven frame times are kept where nothing is mixed or faded."""
    if config.fps is not None:
        return Clock(nominal(config.fps), steady=True)
    mixed = len(config.input_keys) > 1 or (config.transition.type != "cut" and len(config.clips) > 1)
    first = sources[config.input_keys[0]]
    return own_clock(first.rate, variable=first.variable, steady=mixed)


def _shots(config: AnnotateConfig, sources: Mapping[str, Source], ticking: Clock) -> Iterator[Shot]:
    """Each clip with its length, rounded so that the lengths add up; none is shorter than a frame."""
    rate = ticking.rate if ticking.steady else max(ticking.rate, _SHORTEST_RATE)
    frame = max(1, round(1 / (rate * ticking.time_base)))
    position, seconds = 0, 0.0
    for number, clip in enumerate(config.clips, 1):
        source = sources[clip.input_key or config.input_key]
        start, end = _span(number, clip, source)
        seconds += max(end - start, float(frame * ticking.time_base))
        ticks = max(frame, round(seconds / ticking.time_base) - position)
        position += ticks
        yield Shot(number, clip, source, start, ticks)


def _span(number: int, clip: Clip, source: Source) -> tuple[float, float]:
    try:
        return span(source.film_start, source.duration, Span(start=clip.start_time, end=clip.end_time))
    except ExportError as error:
        message = f"Clip {number} ({clip.name}) ends after its source, which is {source.duration:.2f} s long."
        raise ExportError(error.code, message) from error


def _spaced(transition: Transition, ticking: Clock, shots: Sequence[Shot]) -> Iterator[Shot]:
    """Put each shot in its place; a transition takes at most half of either of its clips, and is shortened to that."""
    share = {"cut": 0.0, "fade": transition.duration / 2, "dissolve": transition.duration}[transition.type]
    wanted = round(share / ticking.time_base)
    joins = [min(wanted, one.ticks // 2, other.ticks // 2) for one, other in pairwise(shots)]
    overlaps = joins if transition.type == "dissolve" else [0] * len(joins)
    begun = 0
    for shot, rise, fall, before, after in zip(
        shots, [0, *joins], [*joins, 0], [0, *overlaps], [*overlaps, 0], strict=True
    ):
        yield replace(shot, begun=begun - before, rise=rise, fall=fall, before=before, after=after)
        begun += shot.ticks - before
