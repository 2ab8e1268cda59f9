"""A source's sound on the output's clock: 48 kHz stereo, cut, stretched with its pitch kept, exact to the sample."""

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
from gpu.media.audio_mix import add_up, place_left_and_right
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
_BLOCK = 4_096
# A decoder needs a little run-up after a seek before its sound is true.
_RUN_UP_SECONDS = 0.25
# Where a file is sought in by its bytes, sound lies up to so much later in it than the picture of the same time.
_SCANNED_RUN_UP_SECONDS = 2.0
# Clocks of containers jitter; only more than this is a gap, or an overlap, that the recording really has.
_JITTER_SAMPLES = AUDIO_SAMPLE_RATE // 100
_TIME_BASE = Fraction(1, AUDIO_SAMPLE_RATE)
_UNDECODABLE = "The source's sound could not be decoded; export without it."


def read_audio(source: Source, cut: Sequence[SpeedSpan], seconds: float) -> AudioBlocks:
    """Blocks of shape (2, n), float32 in -1..1; together exactly `seconds` long, silent where there is nothing."""
    total = round(seconds * AUDIO_SAMPLE_RATE)
    begun, played = 0, 0.0
    for piece in cut:
        played += piece.output_seconds
        end = total if piece is cut[-1] else min(round(played * AUDIO_SAMPLE_RATE), total)
        with closing(_piece(source, piece)) as blocks:
            yield from _fitted(blocks, end - begun)
        begun = end


def _fitted(blocks: Iterator[Samples], wanted: int) -> Iterator[Samples]:
    """Exactly so many samples: cut off, or silence added."""
    for block in blocks:
        if wanted <= 0:
            return
        yield block[:, :wanted]
        wanted -= block.shape[1]
    while wanted > 0:
        yield create_silence(min(wanted, _BLOCK))
        wanted -= _BLOCK


def create_silence(samples: int) -> Samples:
    """Nothing to hear, of shape (2, samples)."""
    return np.zeros((CHANNELS, samples), np.float32)


def _piece(source: Source, piece: SpeedSpan) -> AudioBlocks:
    """A piece at its speed, and more: the end is cut to length by who asked."""
    beyond = 0 if piece.speed == 1 else lead_samples(piece.speed) / AUDIO_SAMPLE_RATE
    with closing(_mixed(source, piece.start - beyond, piece.end + beyond)) as blocks:
        yield from blocks if piece.speed == 1 else stretch_audio(blocks, piece.speed)


def frame_from_samples(block: Samples, begun: int) -> AudioFrame:
    """A block as a frame of FFmpeg's that begins at the given sample."""
    frame = AudioFrame.from_ndarray(np.ascontiguousarray(block), format="fltp", layout="stereo")
    frame.sample_rate, frame.time_base, frame.pts = AUDIO_SAMPLE_RATE, _TIME_BASE, begun
    return frame


def _block(frame: AudioFrame) -> Samples:
    return cast(Samples, frame.to_ndarray())


def _mixed(source: Source, start: float, end: float) -> AudioBlocks:
    """All that is heard of the source, from `start` to `end`."""
    if source.audio is None:
        return
    samples = round(end * AUDIO_SAMPLE_RATE) - round(start * AUDIO_SAMPLE_RATE)

    def opened(index: int) -> Iterator[Samples]:
        return _fitted(stack.enter_context(closing(_placed(source, index, start, end))), samples)

    with ExitStack() as stack:
        parts = [[opened(index) for index in part] for part in source.audio.parts]
        sides = [part[0] if len(part) == 1 else place_left_and_right(part) for part in parts]
        yield from sides[0] if len(sides) == 1 else add_up(sides)


def _placed(source: Source, index: int, start: float, end: float) -> AudioBlocks:
    """A track's sound from `start` to `end`, every block where its time says it belongs, silence in the gaps."""
    first, last = round(start * AUDIO_SAMPLE_RATE), round(end * AUDIO_SAMPLE_RATE)
    position = first
    for begun, block in _resampled(source, index, start):
        skipped = position - begun
        if position > first and abs(skipped) <= _JITTER_SAMPLES:
            skipped = 0
        if skipped < 0:
            yield from _fitted(iter(()), min(-skipped, last - position))
            position, skipped = min(begun, last), 0
        if position >= last:
            return
        heard = block[:, skipped : skipped + last - position]
        position += heard.shape[1]
        if heard.shape[1]:
            yield heard


def _resampled(source: Source, index: int, start: float) -> Iterator[tuple[int, Samples]]:
    """Blocks from a little before `start`, each with the sample of the source's clock that it begins at."""
    with open_container(source.path) as container, map_errors("decode_failed", _UNDECODABLE):
        stream = container.streams[index]
        if not isinstance(stream, AudioStream):
            return
        run_up = _RUN_UP_SECONDS if source.scan is None else _SCANNED_RUN_UP_SECONDS
        if start > run_up:
            seek(container, stream, start - run_up + source.origin, source.scan)
        origin = Fraction(source.origin)
        layout = open_without_layout(stream)
        begun = 0
        for frame in _alike(_decoded(container, stream, source.scan), layout):
            block = _block(frame)
            if frame.pts is not None:
                begun = round(float(frame.pts * (frame.time_base or _TIME_BASE) - origin) * AUDIO_SAMPLE_RATE)
            yield begun, block if len(block) == CHANNELS else np.repeat(block, CHANNELS, axis=0)
            begun += block.shape[1]


def _alike(frames: Iterator[AudioFrame], layout: str) -> Iterator[AudioFrame]:
    """Every frame as 48 kHz stereo, or mono where it was; where the format changes, so does the mixer.

    `layout` is the container's, for decoders that know none.
    """
    mixer: StereoMixer | None = None
    look: tuple[str, str, int, int] | None = None
    for frame in frames:
        described = describe_layout(frame, layout)
        if look != (look := (frame.format.name, described, frame.layout.nb_channels, frame.sample_rate)):
            if mixer is not None:
                yield from mixer.push(None)
            mixer = StereoMixer(frame, described)
        if mixer is not None:
            yield from mixer.push(frame)
    if mixer is not None:
        yield from mixer.push(None)


def _decoded(container: InputContainer, stream: AudioStream, scan: Scan | None) -> Iterator[AudioFrame]:
    """Damaged packets leave a gap; sound of which nothing can be decoded is decode_failed."""
    frames, broken = 0, False
    for packet in demux_stream(container, stream, scan):
        try:
            for frame in packet.decode():
                frames += 1
                yield frame
        except FFmpegError:
            broken = True
    if broken and not frames:
        raise ExportError("decode_failed", _UNDECODABLE)
