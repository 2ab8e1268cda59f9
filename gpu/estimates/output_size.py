"""Estimate the bytes of an output, from the bit rate of its sources and measured constants.

An encoder of constant quality spends bits as the picture needs them, and so did the one of the source: over exports of
videos of very different kinds, bits per pixel of the output grew with those of the source to the power of 0.75. The
benchmark `sizes` measures the factors.
"""

import math
from collections.abc import Collection
from typing import cast

import av
from av.video.stream import VideoStream

from gpu.config import Codec, Quality
from gpu.media.encode import Render
from gpu.media.encoders import AUDIO_BITS_PER_SECOND
from gpu.media.passthrough import PassthroughSource
from gpu.sources.container import open_container
from gpu.sources.source import Source
from gpu.sources.truncation import measure_size

EXPONENT = 0.75
FACTORS: dict[Codec, dict[Quality, float]] = {
    Codec.H264: {Quality.DRAFT: 0.441, Quality.STANDARD: 0.596, Quality.HIGH: 0.764},
    Codec.HEVC: {Quality.DRAFT: 0.330, Quality.STANDARD: 0.404, Quality.HIGH: 0.600},
    Codec.AV1: {Quality.DRAFT: 0.183, Quality.STANDARD: 0.347, Quality.HIGH: 0.543},
}
"""Bits per pixel of the output, where a source has one bit per pixel: software encoders, measured by `sizes`."""
FOOTAGE_BITS_PER_PIXEL = 0.054
"""Of the film of the benchmark. A source that codes each picture alone says nothing of how much moves in it."""


def estimate_video_bytes(render: Render, codec: Codec, quality: Quality, sources: Collection[Source]) -> int:
    """Return about how many bytes an encoded video will have."""
    # A picture that is repeated costs almost nothing.
    rate = min(render.clock.rate, max(source.rate for source in sources))
    pixels = float(render.width * render.height * rate) * render.seconds
    bits = FACTORS[codec][quality] * math.pow(_read_bits_per_pixel(sources), EXPONENT) * pixels
    if render.audio is not None:
        bits += AUDIO_BITS_PER_SECOND * render.seconds
    return round(bits / 8)


def estimate_copy_bytes(copy: PassthroughSource) -> int:
    """Return about how many bytes a copy will have: those of its source, without what is left out."""
    source = copy.source
    size = measure_size(source.path)
    return size if copy.audio is not None else min(size, round(_read_bit_rate(source) * source.duration / 8))


def _read_bits_per_pixel(sources: Collection[Source]) -> float:
    """Return the average over all sources."""
    bits = pixels = 0.0
    for source in sources:
        own_pixels = float(source.width * source.height * source.rate) * source.duration
        is_intra = _is_intra(source)
        bits += FOOTAGE_BITS_PER_PIXEL * own_pixels if is_intra else _read_bit_rate(source) * source.duration
        pixels += own_pixels
    return bits / pixels


def _is_intra(source: Source) -> bool:
    """Tell whether each picture is coded alone; of a description the codec may be any word."""
    try:
        return av.Codec(source.codec, "r").intra_only
    except av.codec.codec.UnknownCodecError:
        return False


def _read_bit_rate(source: Source) -> float:
    """Return the bits per second of the video, or of the whole file where its headers don't say."""
    if source.absent_bytes is not None:
        return 8 * source.absent_bytes / source.duration
    with open_container(source.path) as container:
        bit_rate = cast(VideoStream, container.streams[source.video]).codec_context.bit_rate
    return float(bit_rate or 8 * measure_size(source.path) / source.duration)
