"""What a format hands to the pipeline, and the one place that writes it: a Render in, an MP4 out."""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import av
from av.audio.stream import AudioStream
from av.codec.context import CodecContext, Flags
from av.container import OutputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from gpu.errors import map_errors
from gpu.media.audio import AudioBlocks, Samples, frame_from_samples
from gpu.media.color import BT709, LIMITED_RANGE, PIXEL_FORMAT
from gpu.media.decode import OpenPictures, Picture, Pictures
from gpu.media.encoders import (
    AUDIO_BITS_PER_SECOND,
    AUDIO_CODEC,
    AUDIO_SAMPLE_RATE,
    Encoder,
    keyframe_interval,
)
from gpu.media.prefetch import prefetch
from gpu.media.segmented_encoder import SegmentedEncoder, restart_interval
from gpu.media.timeline import Clock

if TYPE_CHECKING:
    from av.container.core import Chapter as ChapterEntry  # its stubs alone have it

# Frames drawn while earlier ones are encoded: some dozens of megabytes at most.
_MOST_AHEAD, _AHEAD_PIXELS = 8, 4_096 * 4_096
FASTSTART = {"movflags": "+faststart"}
"""The index before the pictures, so that players can begin at once."""


@dataclass(frozen=True)
class Chapter:
    """A stretch of the output that players let people jump to, in seconds, and what they call it."""

    start: float
    end: float
    title: str


@dataclass(frozen=True)
class Render:
    """An export that is ready to be encoded: size, clock, length in seconds, pictures, audio and chapters.

    `open_pictures` opens the pictures of any range of ticks. Nothing is decoded until they and `audio` are
    iterated; the code that encodes them closes both. `restart_ticks` is how often the encoder is restarted; a part
    of a longer export takes it from the whole. `notes` are sentences for the job's timeline.
    """

    width: int
    height: int
    clock: Clock
    seconds: float
    open_pictures: OpenPictures
    audio: AudioBlocks | None
    chapters: tuple[Chapter, ...] = ()
    notes: tuple[str, ...] = ()
    restart_ticks_of_whole: int | None = None

    @property
    def restart_ticks(self) -> int:
        return self.restart_ticks_of_whole or restart_interval(self.clock, self.seconds)

    @property
    def ticks(self) -> range:
        """All of it, on its clock."""
        return range(max(1, round(self.seconds / self.clock.time_base)))


def write_mp4(
    render: Render, encoder: Encoder, path: Path, layout: Mapping[str, str] = FASTSTART
) -> Generator[float, None, None]:
    """Encode into an MP4 at `path`, yielding the share written (0 to 1) after every frame and every block of sound.

    What an encoder still holds back is not written yet. `layout` is how the file is laid out, in options of FFmpeg's.
    Frames and sound advance together, so that neither is held back in memory. Raises ExportError: encode_failed,
    disk_full, and whatever the frames raise.
    """
    count = min(_MOST_AHEAD, max(1, _AHEAD_PIXELS // (render.width * render.height)))
    with (
        closing(prefetch(render.open_pictures(render.ticks), count)) as pictures,
        closing(render.audio or _nothing()) as sound,
        _Movie(render, encoder, path, layout) as movie,
    ):
        for _ in movie.shown(pictures):
            while movie.heard < movie.seen and (block := next(sound, None)) is not None:
                movie.add_sound(block)
                yield min(movie.seen, movie.heard) / render.seconds
            yield min(1.0, movie.seen / render.seconds)
        for block in sound:
            movie.add_sound(block)
            yield 1.0


def _nothing() -> AudioBlocks:
    """No sound: unlike silence, not a stream either."""
    yield from ()


class _Movie:
    """An MP4 being written; leaving the block finishes it."""

    def __init__(self, render: Render, encoder: Encoder, path: Path, layout: Mapping[str, str]) -> None:
        self._clock = render.clock
        self._durations: dict[int, int] = {}
        self._seen = self._heard = 0
        with map_errors("encode_failed", _FAILED):
            self._container = av.open(f"file:{path}", "w", format="mp4", options=dict(layout))
            self._video = self._video_stream(render, encoder)
            self._reels = SegmentedEncoder(
                self._video, lambda: self._another_encoder(render, encoder), render.restart_ticks
            )
            self._audio = add_audio_stream(self._container) if render.audio is not None else None
            set_chapters(self._container, render.chapters)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with map_errors("encode_failed", _FAILED):
            try:
                if kind is None and self._audio is not None:
                    self._mux(self._audio.encode(None))
            finally:
                self._reels.close()
                self._container.close()

    @property
    def seen(self) -> float:
        """Seconds of pictures written so far."""
        return float(self._seen * self._clock.time_base)

    @property
    def heard(self) -> float:
        """Seconds of sound written so far."""
        return self._heard / AUDIO_SAMPLE_RATE

    def shown(self, pictures: Pictures) -> Iterator[None]:
        """Encode every picture, and at last what the encoder held back, frame by frame."""
        for picture in pictures:
            self._add_picture(picture)
            yield
        with map_errors("encode_failed", _FAILED):
            for packet in self._reels.finish():
                self._mux([packet])
                yield

    def _add_picture(self, picture: Picture) -> None:
        frame = picture.frame
        frame.pts, frame.time_base = picture.pts, self._clock.time_base
        frame.duration = picture.duration
        frame.pict_type = 0
        self._durations[picture.pts] = picture.duration
        with map_errors("encode_failed", _FAILED):
            self._mux(self._reels.encode(frame))

    def add_sound(self, block: Samples) -> None:
        frame = frame_from_samples(block, self._heard)
        self._heard += frame.samples
        if self._audio is not None:
            with map_errors("encode_failed", _FAILED):
                self._mux(self._audio.encode(frame))

    def _mux(self, packets: "Iterable[Packet[Any]]") -> None:
        for packet in packets:
            # Not every encoder passes a frame's duration on, and the last one's ends the film.
            if packet.stream is self._video and packet.pts is not None:
                packet.duration = self._durations.pop(packet.pts, packet.duration)
                self._seen += packet.duration or 0
            self._container.mux(packet)

    def _video_stream(self, render: Render, encoder: Encoder) -> VideoStream:
        options = dict(encoder.options)
        stream = self._container.add_stream(encoder.name, rate=_rate(render.clock), options=options)
        assert isinstance(stream, VideoStream)
        _set_up(stream.codec_context, render, encoder)
        return stream

    def _another_encoder(self, render: Render, encoder: Encoder) -> VideoCodecContext:
        """One that goes on where the stream's own stops, in the same form."""
        context = CodecContext.create(encoder.name, "w")
        assert isinstance(context, VideoCodecContext)
        context.options = dict(encoder.options)
        context.framerate = _rate(render.clock)
        context.flags |= Flags.global_header  # as MP4 has it: headers come once, and not amid the packets
        context.bit_rate = 0  # a stream's own has none, another's 200 kbit/s
        _set_up(context, render, encoder)
        return context


def _rate(clock: Clock) -> Fraction:
    return Fraction(clock.rate).limit_denominator(1_001)


def _set_up(context: VideoCodecContext, render: Render, encoder: Encoder) -> None:
    context.width, context.height, context.pix_fmt = render.width, render.height, PIXEL_FORMAT
    context.time_base = render.clock.time_base
    context.gop_size = keyframe_interval(_rate(render.clock))
    if not render.clock.steady:
        context.max_b_frames = 0  # decoding times of reordered uneven frames would end the film early
    context.thread_count = encoder.threads
    context.thread_type = "AUTO"  # PyAV asks for slices, which costs x264 both quality and speed
    context.color_primaries = context.color_trc = context.colorspace = BT709
    context.color_range = LIMITED_RANGE
    if encoder.tag is not None:
        context.codec_tag = encoder.tag


def add_audio_stream(container: OutputContainer) -> AudioStream:
    """A new stream in a file, set up as every export's sound is."""
    stream = cast(AudioStream, container.add_stream(AUDIO_CODEC, rate=AUDIO_SAMPLE_RATE))
    stream.codec_context.layout = "stereo"
    stream.codec_context.bit_rate = AUDIO_BITS_PER_SECOND
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
