"""What a format hands to the pipeline, and the one place that writes it: a Render in, an MP4 out."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, cast

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from gpu.decode import Opened, Picture, Pictures
from gpu.errors import failing_as
from gpu.normalize import BT709, LIMITED, PIXEL_FORMAT
from gpu.profile import (
    SOUND_BITS_PER_SECOND,
    SOUND_CODEC,
    SOUND_RATE,
    Encoder,
    keyframe_interval,
)
from gpu.sound import Samples, Sound, frame_of
from gpu.timeline import Clock

if TYPE_CHECKING:
    from av.container.core import Chapter as ChapterEntry  # its stubs alone have it

PLAYABLE = {"movflags": "+faststart"}
"""The index before the pictures, so that players can begin at once."""


@dataclass(frozen=True)
class Chapter:
    """A stretch of the output that players let people jump to, in seconds, and what they call it."""

    start: float
    end: float
    title: str


@dataclass(frozen=True)
class Render:
    """An export ready to be made: the size, the clock, the length in seconds, the frames and sound to come, chapters.

    `pictures` opens the frames of any stretch of it. Nothing is decoded until they and `sound` are iterated; both are
    closed by who writes them.
    """

    width: int
    height: int
    clock: Clock
    seconds: float
    pictures: Opened
    sound: Sound | None
    chapters: tuple[Chapter, ...] = ()

    @property
    def ticks(self) -> range:
        """All of it, on its clock."""
        return range(max(1, round(self.seconds / self.clock.time_base)))


def write(
    render: Render, encoder: Encoder, path: Path, layout: Mapping[str, str] = PLAYABLE
) -> Generator[float, None, None]:
    """Encode into an MP4 at `path`, yielding the share written (0 to 1) after every frame and every block of sound.

    `layout` is how the file is laid out, in options of FFmpeg's. Frames and sound advance together, so that neither is
    held back in memory. Raises ExportError: encode_failed, disk_full, and whatever the frames raise.
    """
    with closing(render.pictures(render.ticks)) as pictures, _Movie(render, encoder, path, layout) as movie:
        if render.sound is None:
            yield from _shares(pictures, render, movie)
            return
        with closing(render.sound) as sound:
            for share in _shares(pictures, render, movie):
                while movie.heard < share * render.seconds and (block := next(sound, None)) is not None:
                    movie.add_sound(block)
                    yield min(share, movie.heard / render.seconds)
                yield share
            for block in sound:
                movie.add_sound(block)
                yield 1.0


def _shares(pictures: Pictures, render: Render, movie: "_Movie") -> Generator[float, None, None]:
    for picture in pictures:
        movie.add_picture(picture)
        yield min(1.0, float((picture.pts + picture.duration) * render.clock.time_base) / render.seconds)


class _Movie:
    """An MP4 being written; leaving the block finishes it."""

    def __init__(self, render: Render, encoder: Encoder, path: Path, layout: Mapping[str, str]) -> None:
        self._clock = render.clock
        self._durations: dict[int, int] = {}
        self._heard = 0
        with failing_as("encode_failed", _FAILED):
            self._container = av.open(f"file:{path}", "w", format="mp4", options=dict(layout))
            self._video = self._video_stream(render, encoder)
            self._audio = sound_stream(self._container) if render.sound is not None else None
            set_chapters(self._container, render.chapters)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with failing_as("encode_failed", _FAILED):
            try:
                if kind is None:
                    self._mux(self._video.encode(None))
                    self._mux(self._audio.encode(None) if self._audio else [])
            finally:
                self._container.close()

    @property
    def heard(self) -> float:
        """Seconds of sound written so far."""
        return self._heard / SOUND_RATE

    def add_picture(self, picture: Picture) -> None:
        frame = picture.frame
        frame.pts, frame.time_base = picture.pts, self._clock.time_base
        frame.duration = picture.duration
        frame.pict_type = 0
        self._durations[picture.pts] = picture.duration
        with failing_as("encode_failed", _FAILED):
            self._mux(self._video.encode(frame))

    def add_sound(self, block: Samples) -> None:
        frame = frame_of(block, self._heard)
        self._heard += frame.samples
        if self._audio is not None:
            with failing_as("encode_failed", _FAILED):
                self._mux(self._audio.encode(frame))

    def _mux(self, packets: "list[Packet[Stream]]") -> None:
        for packet in packets:
            # Not every encoder passes a frame's duration on, and the last one's ends the film.
            if packet.stream is self._video and packet.pts is not None:
                packet.duration = self._durations.pop(packet.pts, packet.duration)
            self._container.mux(packet)

    def _video_stream(self, render: Render, encoder: Encoder) -> VideoStream:
        rate = Fraction(render.clock.rate).limit_denominator(1_001)
        stream = cast(
            VideoStream, self._container.add_stream(encoder.name, rate=rate, options=encoder.options)
        )
        stream.width, stream.height, stream.pix_fmt = render.width, render.height, PIXEL_FORMAT
        context = stream.codec_context
        context.time_base = render.clock.time_base
        context.gop_size = keyframe_interval(rate)
        if not render.clock.steady:
            context.max_b_frames = 0  # decoding times of reordered uneven frames would end the film early
        context.thread_count = encoder.threads
        context.thread_type = "AUTO"  # PyAV asks for slices, which costs x264 both quality and speed
        context.color_primaries = context.color_trc = context.colorspace = BT709
        context.color_range = LIMITED
        if encoder.tag is not None:
            context.codec_tag = encoder.tag
        return stream


def sound_stream(container: OutputContainer) -> AudioStream:
    """A new stream in a file, set up as every export's sound is."""
    stream = cast(AudioStream, container.add_stream(SOUND_CODEC, rate=SOUND_RATE))
    stream.codec_context.layout = "stereo"
    stream.codec_context.bit_rate = SOUND_BITS_PER_SECOND
    return stream


def set_chapters(container: OutputContainer, chapters: Sequence[Chapter]) -> None:
    """Tell of the chapters in a file whose beginning is yet to be written."""
    container.set_chapters([_chapter(each) for each in enumerate(chapters)])


def _chapter(numbered: tuple[int, Chapter]) -> "ChapterEntry":
    number, chapter = numbered
    start, end = round(chapter.start * _MILLISECONDS), round(chapter.end * _MILLISECONDS)
    # One of the two places where MP4 keeps chapters cuts titles off at so many bytes, amid a character if need be.
    title = chapter.title.encode()[:_TITLE_BYTES].decode(errors="ignore")
    return {
        "id": number,
        "start": start,
        "end": end,
        "time_base": Fraction(1, _MILLISECONDS),
        "metadata": {"title": title},
    }


_MILLISECONDS = 1_000
_TITLE_BYTES = 255
_FAILED = "The export could not be encoded."
