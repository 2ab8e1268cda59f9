"""Read a source's audio on the output's clock.

It is 48 kHz stereo, cut and time-stretched exactly to the sample.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from fractions import Fraction
from typing import cast

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from numpy.typing import NDArray

from gpu.errors import ExportError, map_errors
from gpu.media.channel_layouts import StereoMixer, describe_layout, open_without_layout
from gpu.media.encoders import AUDIO_SAMPLE_RATE
from gpu.media.time_stretch import lead_samples, stretch_audio
from gpu.media.timeline import SpeedSpan
from gpu.sources.container import demux_stream, open_container, seek
from gpu.sources.discontinuities import Scan
from gpu.sources.source import Source

Samples = NDArray[np.float32]
AudioBlocks = Generator[Samples, None, None]

CHANNELS = 2
_BLOCK_SAMPLES = 4_096
# After a seek a decoder needs some preroll before its output is correct.
_PREROLL_SECONDS = 0.25
# After a seek by byte position, audio may come up to this much later in the file than the picture of the same time.
_BYTE_SEEK_PREROLL_SECONDS = 2.0
# Clocks of containers jitter: only more than this is a gap or an overlap in the recording itself.
_JITTER_SAMPLES = AUDIO_SAMPLE_RATE // 100
_TIME_BASE = Fraction(1, AUDIO_SAMPLE_RATE)
_UNDECODABLE = "The source's sound could not be decoded; export without it."


def read_audio(source: Source, spans: Sequence[SpeedSpan], seconds: float) -> AudioBlocks:
    """Yield the audio of the spans, exactly `seconds` long, with silence where there is none.

    Blocks have shape (2, n) and are float32 in -1..1.
    """
    total = round(seconds * AUDIO_SAMPLE_RATE)
    position, played_seconds = 0, 0.0
    for span in spans:
        played_seconds += span.output_seconds
        end = total if span is spans[-1] else min(round(played_seconds * AUDIO_SAMPLE_RATE), total)
        with closing(_read_span(source, span)) as blocks:
            yield from _fit_length(blocks, end - position)
        position = end


def _fit_length(blocks: Iterator[Samples], samples: int) -> Iterator[Samples]:
    """Yield exactly so many samples: cut the blocks off, or append silence."""
    for block in blocks:
        if samples <= 0:
            return
        yield block[:, :samples]
        samples -= block.shape[1]
    while samples > 0:
        yield create_silence(min(samples, _BLOCK_SAMPLES))
        samples -= _BLOCK_SAMPLES


def create_silence(samples: int) -> Samples:
    """Return silence of shape (2, samples)."""
    return np.zeros((CHANNELS, samples), np.float32)


def _read_span(source: Source, span: SpeedSpan) -> AudioBlocks:
    """Yield a span's audio at its speed, possibly longer than the span; the caller cuts it."""
    margin = 0 if span.speed == 1 else lead_samples(span.speed) / AUDIO_SAMPLE_RATE
    with closing(_read_tracks(source, span.start - margin, span.end + margin)) as blocks:
        yield from blocks if span.speed == 1 else stretch_audio(blocks, span.speed)


def frame_from_samples(block: Samples, position: int) -> AudioFrame:
    """Return a block as an FFmpeg frame that begins at the sample `position`."""
    frame = AudioFrame.from_ndarray(np.ascontiguousarray(block), format="fltp", layout="stereo")
    frame.sample_rate, frame.time_base, frame.pts = AUDIO_SAMPLE_RATE, _TIME_BASE, position
    return frame


def _samples_from_frame(frame: AudioFrame) -> Samples:
    return cast(Samples, frame.to_ndarray())


def _read_tracks(source: Source, start: float, end: float) -> AudioBlocks:
    """Yield the mix of the source's selected tracks from `start` to `end`."""
    if source.audio is None:
        return
    samples = round(end * AUDIO_SAMPLE_RATE) - round(start * AUDIO_SAMPLE_RATE)

    def open_track(index: int) -> Iterator[Samples]:
        return _fit_length(stack.enter_context(closing(_read_track(source, index, start, end))), samples)

    with ExitStack() as stack:
        parts = [[open_track(index) for index in part] for part in source.audio.parts]
        tracks = [part[0] if len(part) == 1 else place_left_and_right(part) for part in parts]
        yield from tracks[0] if len(tracks) == 1 else add_up(tracks)


def add_up(tracks: Sequence[Iterator[Samples]]) -> Iterator[Samples]:
    """Mix tracks of equal length, each at its own level, clipped to -1..1."""
    for blocks in _align_blocks(tracks):
        yield np.clip(np.sum(blocks, axis=0, dtype=np.float32), -1, 1)


def place_left_and_right(tracks: Sequence[Iterator[Samples]]) -> Iterator[Samples]:
    """Combine the left side of the first of two tracks with the right side of the second."""
    for left, right in _align_blocks(tracks):
        yield np.stack([left[0], right[1]])


def _align_blocks(tracks: Sequence[Iterator[Samples]]) -> Iterator[list[Samples]]:
    """Yield a block of each track, all of the same length, until the shortest track ends."""
    pending: list[Samples | None] = [None] * len(tracks)
    while True:
        for number, track in enumerate(tracks):
            if pending[number] is None:
                pending[number] = next(track, None)
        blocks = [block for block in pending if block is not None]
        if len(blocks) < len(tracks):
            return
        length = min(block.shape[1] for block in blocks)
        yield [block[:, :length] for block in blocks]
        pending = [block[:, length:] if block.shape[1] > length else None for block in blocks]


def _read_track(source: Source, index: int, start: float, end: float) -> AudioBlocks:
    """Yield a track's audio from `start` to `end`: each block at its own time, gaps silent."""
    first, last = round(start * AUDIO_SAMPLE_RATE), round(end * AUDIO_SAMPLE_RATE)
    position = first
    for block_start, block in _resample(source, index, start):
        skipped = position - block_start
        if position > first and abs(skipped) <= _JITTER_SAMPLES:
            skipped = 0
        if skipped < 0:
            yield from _fit_length(iter(()), min(-skipped, last - position))
            position, skipped = min(block_start, last), 0
        if position >= last:
            return
        audible = block[:, skipped : skipped + last - position]
        position += audible.shape[1]
        if audible.shape[1]:
            yield audible


def _resample(source: Source, index: int, start: float) -> Iterator[tuple[int, Samples]]:
    """Yield stereo blocks from a little before `start`, each with its first sample's number.

    Samples are numbered on the source's clock.
    """
    with open_container(source.path) as container, map_errors("decode_failed", _UNDECODABLE):
        stream = container.streams[index]
        if not isinstance(stream, AudioStream):
            return
        preroll = _PREROLL_SECONDS if source.scan is None else _BYTE_SEEK_PREROLL_SECONDS
        if start > preroll:
            seek(container, stream, start - preroll + source.origin, source.scan)
        origin = Fraction(source.origin)
        layout = open_without_layout(stream)
        position = 0
        for frame in _convert_format(_decode_audio(container, stream, source.scan), layout):
            block = _samples_from_frame(frame)
            if frame.pts is not None:
                position = round(
                    float(frame.pts * (frame.time_base or _TIME_BASE) - origin) * AUDIO_SAMPLE_RATE
                )
            yield position, block if len(block) == CHANNELS else np.repeat(block, CHANNELS, axis=0)
            position += block.shape[1]


def _convert_format(frames: Iterator[AudioFrame], layout: str) -> Iterator[AudioFrame]:
    """Convert frames to 48 kHz stereo; mono stays mono.

    A change of format needs a new mixer. `layout` is the container's, for decoders that know none.
    """
    mixer: StereoMixer | None = None
    input_format: tuple[str, str, int, int] | None = None
    for frame in frames:
        description = describe_layout(frame, layout)
        frame_format = (frame.format.name, description, frame.layout.nb_channels, frame.sample_rate)
        if input_format != frame_format:
            input_format = frame_format
            if mixer is not None:
                yield from mixer.push(None)
            mixer = StereoMixer(frame, description)
        if mixer is not None:
            yield from mixer.push(frame)
    if mixer is not None:
        yield from mixer.push(None)


def _decode_audio(container: InputContainer, stream: AudioStream, scan: Scan | None) -> Iterator[AudioFrame]:
    """Decode a stream; damaged packets leave a gap.

    Raises ExportError: decode_failed, if packets are damaged and none can be decoded.
    """
    frames, is_damaged = 0, False
    for packet in demux_stream(container, stream, scan):
        try:
            for frame in packet.decode():
                frames += 1
                yield frame
        except FFmpegError:
            is_damaged = True
    if is_damaged and not frames:
        raise ExportError("decode_failed", _UNDECODABLE)
