"""Decode a source's frames, convert them to one form, and put them on the output's clock."""

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

# Headers may count the end of the audio as video: a file that lacks less than this is not damaged.
_MISSING_SECONDS = 1.0
# The clocks of some containers count in milliseconds.
_ROUNDING_SECONDS = 0.002
_EXACT_SECONDS = 0.00001
# A seek may land too late: transport streams have no index, and the first frames after an open GOP's keyframe can't
# be decoded.
_EARLIER_SECONDS = (0.0, 1.5, 10.0)


@dataclass(frozen=True)
class Picture:
    """A frame, its time in the source, and when and how long the output shows it.

    The frame is yuv420p and BT.709. `time` is in seconds; `pts` and `duration` are in ticks of the output's time base.
    """

    frame: VideoFrame
    time: float
    pts: int = 0
    duration: int = 1


Pictures = Generator[Picture, None, None]
OpenPictures = Callable[[range], Pictures]
"""Opens the pictures within a range of ticks; they are the same as in a decode of the whole export."""


def decode_frames(source: Source, spans: Sequence[SpeedSpan], clock: Clock, ticks: range) -> Pictures:
    """Yield the pictures of the spans within a range of ticks of the output's clock.

    The spans follow one another in the source. Raises ExportError: decode_failed, source_truncated.
    """
    yield from (_sample_at_ticks if clock.steady else _keep_all)(source, spans, clock, ticks)


def _sample_at_ticks(source: Source, spans: Sequence[SpeedSpan], clock: Clock, ticks: range) -> Pictures:
    """Yield the frame visible at each tick of a steady clock; frames may repeat or be dropped."""
    # Where a fast span ends and a slow one begins the times step back; the visible frame must not.
    times = islice(accumulate(latest_source_times(spans, clock), max), ticks.start, ticks.stop)
    first = next(times, spans[0].start)
    with closing(
        _pictures_between(source, first if ticks.start else spans[0].start, spans[-1].end)
    ) as decoded:
        current = next(decoded)
        upcoming = next(decoded, None)
        for number, latest in zip(ticks, chain((first,), times), strict=False):
            while upcoming is not None and upcoming.time <= latest:
                current, upcoming = upcoming, next(decoded, None)
            yield replace(current, pts=number)


def _keep_all(source: Source, spans: Sequence[SpeedSpan], clock: Clock, ticks: range) -> Pictures:
    """Yield every frame that begins within the ticks, at its own time."""
    # Decoding starts one tick early, so the first frame is one that began before `ticks` even if its time was rounded;
    # it is skipped.
    early = max(0, ticks.start - 1)
    start = spans[0].start + float(early * clock.time_base)
    with (
        closing(_pictures_between(source, start, spans[-1].end)) as decoded,
        closing(_retime(decoded, spans[0], clock)) as retimed,
    ):
        for picture in retimed:
            if picture.pts >= ticks.stop:
                return
            if picture.pts >= ticks.start:
                yield picture


def _retime(pictures: Pictures, span: SpeedSpan, clock: Clock) -> Pictures:
    """Yield every frame at its own time; the first is shown from the span's beginning."""
    end = max(1, round(span.output_seconds / clock.time_base))
    current = next(pictures)
    pts_begin = 0
    for upcoming in pictures:
        if upcoming.time > span.start + _ROUNDING_SECONDS:
            pts = round((upcoming.time - span.start) / clock.time_base)
            if pts >= end - _ROUNDING_SECONDS / clock.time_base:
                break
            if pts > pts_begin:
                yield replace(current, pts=pts_begin, duration=pts - pts_begin)
                pts_begin = pts
        current = upcoming
    yield replace(current, pts=pts_begin, duration=end - pts_begin)


def _pictures_between(source: Source, start: float, end: float) -> Pictures:
    """Yield the pictures from the one visible at `start` to the last before `end`.

    There is always at least one.
    """
    pending: Picture | None = None
    for picture in _decode_from(source, start):
        if pending is not None and picture.time <= pending.time:
            continue
        if pending is not None and picture.time >= end:
            break
        if pending is not None and picture.time > start:
            yield pending
        pending = picture
    else:
        _check_complete(source, pending, end)
    if pending is None:
        raise ExportError("decode_failed", UNDECODABLE)
    yield pending


def _check_complete(source: Source, last: Picture | None, end: float) -> None:
    """Raise source_truncated if decoding ended early because the file is cut off.

    Otherwise the last picture is simply shown for long.
    """
    if last is None:
        raise ExportError("decode_failed", UNDECODABLE)
    if last.time < end - _MISSING_SECONDS and _is_file_truncated(source):
        message = f"The source ends early, at {last.time:.1f} s; upload the complete file."
        raise ExportError("source_truncated", message)


def _is_file_truncated(source: Source) -> bool:
    """Return whether a file is shorter than its headers say.

    Lengths are compared in bytes, or in seconds for files that don't say their length in bytes.
    """
    if source.scan is not None and source.scan.determines_duration:
        return False
    is_cut_off = is_truncated(source.path)
    if is_cut_off is not None:
        return is_cut_off
    return measure_source_duration(source) < source.duration - _MISSING_SECONDS


def _decode_from(source: Source, start: float) -> Pictures:
    """Yield pictures from a keyframe at or before `start`.

    A seek that lands too late is repeated to an earlier time.
    """
    uncertain = source.timing.uncertain_frames / float(source.rate)
    for earlier in (*_EARLIER_SECONDS, start) if source.is_seekable else (start,):
        seek_time = max(0.0, start - earlier)
        with closing(_decode(source, seek_time)) as pictures:
            first = next(pictures, None)
            if first is not None and (first.time <= start - uncertain or seek_time <= 0):
                yield first
                yield from pictures
                return


def _decode(source: Source, start: float) -> Pictures:
    with (
        _open_decoder(source) as container,
        map_errors("decode_failed", UNDECODABLE),
    ):
        stream = prepare_video_stream(container, source.video)
        if start > 0:
            seek(container, stream, start + source.origin, source.scan)
        time_base = stream.time_base or 1 / source.rate
        converter = FrameConverter(source.width, source.height, time_base, source.background)
        shape = PixelShape(stream)
        frames = restore_times(
            decode_video(container, stream, source),
            source.timing,
            start=None if start > 0 else round(source.origin / time_base),
            default_step=max(1, round(1 / (source.rate * time_base))),
        )
        for frame in _convert(frames, converter, shape):
            yield Picture(frame, _exact_time(source, frame.time - source.origin))


def _exact_time(source: Source, time: float) -> float:
    """Return a frame's time, exact also where the container's clock counts milliseconds.

    That is possible for a source of constant rate. With rounded times, frames of a source at the output's own rate
    would alternately just reach and just miss a slot.
    """
    if source.variable:
        return time
    exact = source.first_frame_time + round((time - source.first_frame_time) * source.rate) / float(
        source.rate
    )
    return exact if _EXACT_SECONDS < abs(exact - time) <= _ROUNDING_SECONDS else time


def _open_decoder(source: Source) -> InputContainer:
    """Open the source with the GPU's decoder if possible.

    If the GPU has no memory left, say, it is decoded in software.
    """
    gpu = hwaccel.open_hardware_decoder()
    if gpu is not None:
        try:
            return open_container(source.path, gpu)
        except ExportError as error:
            log.warning("decoding without the GPU: %s", error.__cause__)
    return open_container(source.path)


def _convert(
    frames: Iterator[VideoFrame], converter: FrameConverter, shape: PixelShape
) -> Iterator[VideoFrame]:
    for frame in frames:
        yield from converter.push(frame, shape.latest())
    yield from converter.flush()
