"""The plan of an encoded export (`Render`), and the writer that encodes it into an MP4."""

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import av
from av.audio.stream import AudioStream
from av.codec.context import CodecContext, Flags
from av.container import OutputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from gpu.errors import map_errors
from gpu.media.audio import AudioBlocks, Samples, frame_from_samples
from gpu.media.chapters import Chapter, set_chapters
from gpu.media.color import PIXEL_FORMAT
from gpu.media.decode import OpenPictures, Picture, Pictures
from gpu.media.encoders import (
    AUDIO_BITS_PER_SECOND,
    AUDIO_CODEC,
    AUDIO_SAMPLE_RATE,
    Encoder,
    keyframe_interval,
)
from gpu.media.frame_format import BT709, LIMITED_RANGE
from gpu.media.prefetch import prefetch
from gpu.media.segmented_encoder import SegmentedEncoder, restart_interval
from gpu.media.timeline import Clock
from gpu.memory import map_large_blocks, refuse_huge_pages

# Frames that are drawn while earlier ones are encoded: four of 1080p, eight of most vertical crops of it.
_MAX_PREFETCH, _PREFETCH_BYTES = 8, 13 * 2**20
_BYTES_PER_PIXEL = 1.5
FASTSTART = {"movflags": "+faststart"}
"""Writes the index before the packets, so that players can start before the whole file has arrived."""
_FAILED = "The export could not be encoded."


@dataclass(frozen=True)
class Render:
    """An export that is ready to be encoded.

    `seconds` is its length, `open_pictures` opens the pictures of any range of ticks. Nothing is decoded until they
    and `audio` are iterated; the code that encodes them closes both. `restart_ticks` is how often the encoder is
    restarted if the export may be split. `notes` are sentences for the job's timeline.
    """

    width: int
    height: int
    clock: Clock
    seconds: float
    open_pictures: OpenPictures
    audio: AudioBlocks | None
    chapters: tuple[Chapter, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def restart_ticks(self) -> int:
        return restart_interval(self.clock, self.seconds)

    @property
    def ticks(self) -> range:
        """All ticks of the export."""
        return range(max(1, round(self.seconds / self.clock.time_base)))


def write_mp4(
    render: Render,
    encoder: Encoder,
    path: Path,
    layout: Mapping[str, str] = FASTSTART,
    restart_ticks: int | None = None,
) -> Generator[float, None, None]:
    """Encode into an MP4 at `path`, yielding the fraction written.

    It yields after every frame and block of audio. Frames that an encoder buffers are not counted as written.
    `layout` contains FFmpeg's muxer options; the encoder is restarted every `restart_ticks`, or never. Video and audio
    advance together, so that neither has to be buffered.
    Raises ExportError: encode_failed, disk_full, and what decoding the frames raises.
    """
    map_large_blocks()
    refuse_huge_pages()
    frame_bytes = render.width * render.height * _BYTES_PER_PIXEL
    count = min(_MAX_PREFETCH, max(1, int(_PREFETCH_BYTES / frame_bytes)))
    with (
        closing(prefetch(render.open_pictures(render.ticks), count)) as pictures,
        closing(render.audio or _no_audio()) as audio,
        _Mp4Writer(render, encoder, path, layout, restart_ticks) as writer,
    ):
        for _ in writer.encode_video(pictures):
            while writer.audio_seconds < writer.video_seconds and (block := next(audio, None)) is not None:
                writer.encode_audio(block)
                yield min(writer.video_seconds, writer.audio_seconds) / render.seconds
            yield min(1.0, writer.video_seconds / render.seconds)
        for block in audio:
            writer.encode_audio(block)
            yield 1.0


def _no_audio() -> AudioBlocks:
    """Return no audio: unlike silence, it makes no stream."""
    yield from ()


class _Mp4Writer:
    """Write an MP4; leaving the `with` block finishes it."""

    def __init__(
        self,
        render: Render,
        encoder: Encoder,
        path: Path,
        layout: Mapping[str, str],
        restart_ticks: int | None,
    ) -> None:
        self._clock = render.clock
        self._durations: dict[int, int] = {}
        self._video_ticks = self._audio_samples = 0
        with map_errors("encode_failed", _FAILED):
            self._container = av.open(f"file:{path}", "w", format="mp4", options=dict(layout))
            self._video = self._add_video_stream(render, encoder)
            self._encoders = SegmentedEncoder(
                self._video, lambda: self._restart_encoder(render, encoder), restart_ticks
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
                self._encoders.close()
                self._container.close()

    @property
    def video_seconds(self) -> float:
        """Seconds of video written so far."""
        return float(self._video_ticks * self._clock.time_base)

    @property
    def audio_seconds(self) -> float:
        """Seconds of audio written so far."""
        return self._audio_samples / AUDIO_SAMPLE_RATE

    def encode_video(self, pictures: Pictures) -> Iterator[None]:
        """Encode every picture, then flush the encoder; yields after each picture and packet."""
        for picture in pictures:
            self._encode_picture(picture)
            yield
        with map_errors("encode_failed", _FAILED):
            for packet in self._encoders.finish():
                self._mux([packet])
                yield

    def _encode_picture(self, picture: Picture) -> None:
        frame = picture.frame
        frame.pts, frame.time_base = picture.pts, self._clock.time_base
        frame.duration = picture.duration
        frame.pict_type = 0
        self._durations[picture.pts] = picture.duration
        with map_errors("encode_failed", _FAILED):
            self._mux(self._encoders.encode(frame))

    def encode_audio(self, block: Samples) -> None:
        """Encode a block that follows the ones before."""
        frame = frame_from_samples(block, self._audio_samples)
        self._audio_samples += frame.samples
        if self._audio is not None:
            with map_errors("encode_failed", _FAILED):
                self._mux(self._audio.encode(frame))

    def _mux(self, packets: "Iterable[Packet[Any]]") -> None:
        for packet in packets:
            # Not every encoder passes a frame's duration on, and the last one's duration ends the video.
            if packet.stream is self._video and packet.pts is not None:
                packet.duration = self._durations.pop(packet.pts, packet.duration)
                self._video_ticks += packet.duration or 0
            self._container.mux(packet)

    def _add_video_stream(self, render: Render, encoder: Encoder) -> VideoStream:
        options = dict(encoder.options)
        stream = self._container.add_stream(encoder.name, rate=_frame_rate(render.clock), options=options)
        assert isinstance(stream, VideoStream)
        _configure(stream.codec_context, render, encoder)
        return stream

    def _restart_encoder(self, render: Render, encoder: Encoder) -> VideoCodecContext:
        """Return a new encoder, configured as the stream's own, that continues where it stops."""
        context = CodecContext.create(encoder.name, "w")
        assert isinstance(context, VideoCodecContext)
        context.options = dict(encoder.options)
        context.framerate = _frame_rate(render.clock)
        context.flags |= Flags.global_header  # as MP4 requires: headers once, not inside the packets
        context.bit_rate = 0  # streams have none, but a new context defaults to 200 kbit/s
        _configure(context, render, encoder)
        return context


def _frame_rate(clock: Clock) -> Fraction:
    return Fraction(clock.rate).limit_denominator(1_001)


def _configure(context: VideoCodecContext, render: Render, encoder: Encoder) -> None:
    context.width, context.height, context.pix_fmt = render.width, render.height, PIXEL_FORMAT
    context.time_base = render.clock.time_base
    context.gop_size = keyframe_interval(_frame_rate(render.clock))
    if not render.clock.steady:
        context.max_b_frames = (
            0  # with uneven frame times, the decoding times of B-frames would end the video early
        )
    context.thread_count = encoder.threads
    context.thread_type = "AUTO"  # PyAV's default is slices, which cost x264 both quality and speed
    context.color_primaries = context.color_trc = context.colorspace = BT709
    context.color_range = LIMITED_RANGE
    if encoder.tag is not None:
        context.codec_tag = encoder.tag


def add_audio_stream(container: OutputContainer) -> AudioStream:
    """Add an audio stream to a file, configured as every export's."""
    stream = cast(AudioStream, container.add_stream(AUDIO_CODEC, rate=AUDIO_SAMPLE_RATE))
    stream.codec_context.layout = "stereo"
    stream.codec_context.bit_rate = AUDIO_BITS_PER_SECOND
    return stream
