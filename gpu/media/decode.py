"""Frames of a source, alike and in rising order of time, put on the clock of the output."""

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import accumulate, chain, islice

from av.container import InputContainer
from av.video.frame import VideoFrame

from gpu.errors import ExportError, map_errors
from gpu.media import hwaccel
from gpu.media.color import FrameConverter
from gpu.media.timeline import Clock, SpeedSpan, latest_source_times
from gpu.media.timestamps import restore_times
from gpu.sources.container import open_container, prepare_video_stream, seek
from gpu.sources.decoders import PixelShape
from gpu.sources.duration import measure_source_duration
from gpu.sources.source import UNDECODABLE, Source, decode_video
from gpu.sources.truncation import is_truncated

log = logging.getLogger(__name__)

# Headers may count the sound's tail as the picture's: less than this missing is no damage.
_MISSING_SECONDS = 1.0
# Clocks of containers count in milliseconds, some of them.
_ROUNDING_SECONDS = 0.002
_EXACT_SECONDS = 0.00001
# Transport streams have no index, and the first frames after an open keyframe can't be decoded: a seek may miss.
_EARLIER_SECONDS = (0.0, 1.5, 10.0)


@dataclass(frozen=True)
class Picture:
    """One frame (yuv420p, bt709), the source's time that it shows, and when and how long the output shows it.

    `time` is in seconds; `pts` and `duration` are in ticks of the output's time base.
    """

    frame: VideoFrame
    time: float
    pts: int = 0
    duration: int = 1


Pictures = Generator[Picture, None, None]
OpenPictures = Callable[[range], Pictures]
"""Opens the frames that begin within some ticks of the output's clock: the very ones that the whole has there."""


def decode_frames(source: Source, cut: Sequence[SpeedSpan], clock: Clock, ticks: range) -> Pictures:
    """What the pieces show at some ticks, frame by frame, on the output's clock.

    The pieces follow on one another in the source. Raises ExportError: decode_failed, source_truncated.
    """
    yield from (_sampled if clock.steady else _kept)(source, cut, clock, ticks)


def _sampled(source: Source, cut: Sequence[SpeedSpan], clock: Clock, ticks: range) -> Pictures:
    """The frame on screen at each tick of a steady clock: some frames twice, some not at all."""
    # Where a fast piece gives way to a slow one the times step back; what is on screen does not.
    times = islice(accumulate(latest_source_times(cut, clock), max), ticks.start, ticks.stop)
    first = next(times, cut[0].start)
    with closing(_between(source, first if ticks.start else cut[0].start, cut[-1].end)) as shown:
        current = next(shown)
        upcoming = next(shown, None)
        for number, latest in zip(ticks, chain((first,), times), strict=False):
            while upcoming is not None and upcoming.time <= latest:
                current, upcoming = upcoming, next(shown, None)
            yield replace(current, pts=number)


def _kept(source: Source, cut: Sequence[SpeedSpan], clock: Clock, ticks: range) -> Pictures:
    """Every frame at its own time, those that begin within the ticks."""
    # A tick early, the frame on screen is one that began before: it is not shown, whatever its time was rounded to.
    early = max(0, ticks.start - 1)
    start = cut[0].start + float(early * clock.time_base)
    with (
        closing(_between(source, start, cut[-1].end)) as shown,
        closing(_timed(shown, cut[0], clock)) as found,
    ):
        for picture in found:
            if picture.pts >= ticks.stop:
                return
            if picture.pts >= ticks.start:
                yield picture


def _timed(shown: Pictures, piece: SpeedSpan, clock: Clock) -> Pictures:
    """Every frame at its own time; the first one is shown from the piece's beginning."""
    end = max(1, round(piece.output_seconds / clock.time_base))
    current = next(shown)
    begun = 0
    for upcoming in shown:
        if upcoming.time > piece.start + _ROUNDING_SECONDS:
            pts = round((upcoming.time - piece.start) / clock.time_base)
            if pts >= end - _ROUNDING_SECONDS / clock.time_base:
                break
            if pts > begun:
                yield replace(current, pts=begun, duration=pts - begun)
                begun = pts
        current = upcoming
    yield replace(current, pts=begun, duration=end - begun)


def _between(source: Source, start: float, end: float) -> Pictures:
    """Alike frames from the one on screen at `start` to the last before `end`; there is always one."""
    held: Picture | None = None
    for picture in _from(source, start):
        if held is not None and picture.time <= held.time:
            continue
        if held is not None and picture.time >= end:
            break
        if held is not None and picture.time > start:
            yield held
        held = picture
    else:
        _check_whole(source, held, end)
    if held is None:
        raise ExportError("decode_failed", UNDECODABLE)
    yield held


def _check_whole(source: Source, last: Picture | None, end: float) -> None:
    """A last picture may last long; a file that breaks off before its end is damaged."""
    if last is None:
        raise ExportError("decode_failed", UNDECODABLE)
    if last.time < end - _MISSING_SECONDS and _breaks_off(source):
        message = f"The source breaks off at {last.time:.1f} s; it may not have been uploaded whole."
        raise ExportError("source_truncated", message)


def _breaks_off(source: Source) -> bool:
    """Whether a file is shorter than it says; what does not say it in bytes says it in seconds."""
    if source.scan is not None and source.scan.rules_times:
        return False
    cut_off = is_truncated(source.path)
    if cut_off is not None:
        return cut_off
    return measure_source_duration(source) < source.duration - _MISSING_SECONDS


def _from(source: Source, start: float) -> Pictures:
    """Frames from a keyframe at or before `start`; a seek that lands too late is tried again from earlier."""
    uncertain = source.timing.uncertain_frames / float(source.rate)
    for earlier in (*_EARLIER_SECONDS, start) if source.is_seekable else (start,):
        begun = max(0.0, start - earlier)
        with closing(_decoded(source, begun)) as found:
            first = next(found, None)
            if first is not None and (first.time <= start - uncertain or begun <= 0):
                yield first
                yield from found
                return


def _decoded(source: Source, start: float) -> Pictures:
    with (
        _opened(source) as container,
        map_errors("decode_failed", UNDECODABLE),
    ):
        stream = prepare_video_stream(container, source.video)
        if start > 0:
            seek(container, stream, start + source.origin, source.scan)
        time_base = stream.time_base or 1 / source.rate
        normalizer = FrameConverter(source.width, source.height, time_base, source.background)
        shape = PixelShape(stream)
        frames = restore_times(
            decode_video(container, stream, source),
            source.timing,
            start=None if start > 0 else round(source.origin / time_base),
            usual_step=max(1, round(1 / (source.rate * time_base))),
        )
        for frame in _alike(frames, normalizer, shape):
            yield Picture(frame, _steady_time(source, frame.time - source.origin))


def _steady_time(source: Source, time: float) -> float:
    """The time of a frame in seconds, where a steady source's clock only counts in milliseconds: what was rounded.

    Else frames that come as far apart as those of the output would, by turns, just reach one of them and just not.
    """
    if source.variable:
        return time
    steady = source.first_frame_time + round((time - source.first_frame_time) * source.rate) / float(
        source.rate
    )
    return steady if _EXACT_SECONDS < abs(steady - time) <= _ROUNDING_SECONDS else time


def _opened(source: Source) -> InputContainer:
    """On the card, where there is one that can be had; one whose memory is taken keeps no source from being read."""
    card = hwaccel.open_hardware_decoder()
    if card is not None:
        try:
            return open_container(source.path, card)
        except ExportError as error:
            log.warning("decoding without the card: %s", error.__cause__)
    return open_container(source.path)


def _alike(
    frames: Iterator[VideoFrame], normalizer: FrameConverter, shape: PixelShape
) -> Iterator[VideoFrame]:
    for frame in frames:
        yield from normalizer.push(frame, shape.latest())
    yield from normalizer.flush()
