"""Place the clips on the output's clock, in whole ticks, so that rounding errors do not add up."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

from gpu.config import Span
from gpu.errors import ExportError
from gpu.export_types.annotate import AnnotateConfig, Clip, Transition
from gpu.media.encoders import AUDIO_SAMPLE_RATE
from gpu.media.timeline import MAX_OUTPUT_SECONDS, Clock, SpeedSpan, rate_from_fps, resolve_trim, source_clock
from gpu.sources.source import Source

# A clip of a slide show, whose frames last for seconds, may be shorter than one of its frames.
_MIN_RATE = Fraction(30)


@dataclass(frozen=True)
class SequencedClip:
    """A clip with its position in the output.

    `start` is in seconds of the source. The rest is in ticks of the output's clock: `first_tick` and `ticks` are its
    position and length, `rise` and `fall` the lengths of its transitions. `overlap_before` and `overlap_after` are what
    it shares with its neighbours: as much as `rise` and `fall` in a dissolve, otherwise nothing.
    """

    number: int
    clip: Clip
    source: Source
    start: float
    ticks: int
    first_tick: int = 0
    rise: int = 0
    fall: int = 0
    overlap_before: int = 0
    overlap_after: int = 0

    @property
    def title(self) -> str:
        """The clip's name, or its number if it has none."""
        return self.clip.name.strip() or f"Clip {self.number}"

    @property
    def end(self) -> int:
        """The tick after its last."""
        return self.first_tick + self.ticks


@dataclass(frozen=True)
class ClipSequence:
    """All clips in the order of the output, on one clock."""

    clock: Clock
    clips: tuple[SequencedClip, ...]

    @property
    def ticks(self) -> int:
        return self.clips[-1].end

    def seconds(self, ticks: int) -> float:
        """Convert a time of the output to seconds."""
        return float(ticks * self.clock.time_base)

    def samples(self, ticks: int) -> int:
        """Convert a time of the output to audio samples."""
        return round(ticks * self.clock.time_base * AUDIO_SAMPLE_RATE)

    def source_span(self, clip: SequencedClip) -> SpeedSpan:
        """Return the part of its source that a clip shows."""
        return SpeedSpan(clip.start, clip.start + self.seconds(clip.ticks))


def build_sequence(config: AnnotateConfig, sources: Mapping[str, Source]) -> ClipSequence:
    """Place all clips. Raises ExportError: clip_outside_source, output_too_long."""
    clock = _choose_clock(config, sources)
    clips = _place_clips(config.transition, clock, list(_measure_clips(config, sources, clock)))
    sequence = ClipSequence(clock, tuple(clips))
    if sequence.seconds(sequence.ticks) > MAX_OUTPUT_SECONDS:
        raise ExportError("output_too_long", "The export would be longer than 24 hours.", loc=("clips",))
    return sequence


def _choose_clock(config: AnnotateConfig, sources: Mapping[str, Source]) -> Clock:
    """Return the configured rate, else the first source's; variable rates stay where nothing is mixed or faded."""
    if config.fps is not None:
        return Clock(rate_from_fps(config.fps), steady=True)
    mixed = len(config.input_keys) > 1 or (config.transition.type != "cut" and len(config.clips) > 1)
    first = sources[config.input_keys[0]]
    return source_clock(first.rate, variable=first.variable, steady=mixed)


def _measure_clips(
    config: AnnotateConfig, sources: Mapping[str, Source], clock: Clock
) -> Iterator[SequencedClip]:
    """Yield each clip with its length, rounded so that the lengths add up; none is shorter than a frame."""
    rate = clock.rate if clock.steady else max(clock.rate, _MIN_RATE)
    frame = max(1, round(1 / (rate * clock.time_base)))
    position, seconds = 0, 0.0
    for number, clip in enumerate(config.clips, 1):
        source = sources[clip.input_key or config.input_key]
        start, end = _clip_span(number, clip, source)
        seconds += max(end - start, float(frame * clock.time_base))
        ticks = max(frame, round(seconds / clock.time_base) - position)
        position += ticks
        yield SequencedClip(number, clip, source, start, ticks)


def _clip_span(number: int, clip: Clip, source: Source) -> tuple[float, float]:
    try:
        return resolve_trim(
            source.export_start, source.duration, Span(start=clip.start_time, end=clip.end_time)
        )
    except ExportError as error:
        message = f"Clip {number} ({clip.name}) ends after its source, which is {source.duration:.2f} s long."
        raise ExportError(error.code, message, loc=("clips", number - 1)) from error


def _place_clips(
    transition: Transition, clock: Clock, clips: Sequence[SequencedClip]
) -> Iterator[SequencedClip]:
    """Yield the clips with their positions; a transition is shortened to half of the shorter clip."""
    seconds = {"cut": 0.0, "fade": transition.duration / 2, "dissolve": transition.duration}[transition.type]
    wanted = round(seconds / clock.time_base)
    lengths = [min(wanted, clip.ticks // 2, following.ticks // 2) for clip, following in pairwise(clips)]
    overlaps = lengths if transition.type == "dissolve" else [0] * len(lengths)
    first_tick = 0
    for clip, rise, fall, before, after in zip(
        clips, [0, *lengths], [*lengths, 0], [0, *overlaps], [*overlaps, 0], strict=True
    ):
        yield replace(
            clip,
            first_tick=first_tick - before,
            rise=rise,
            fall=fall,
            overlap_before=before,
            overlap_after=after,
        )
        first_tick += clip.ticks - before
