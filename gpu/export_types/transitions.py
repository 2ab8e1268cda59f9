"""Transitions between two clips: crossfades of frames, gain curves and mixing of audio."""

from collections.abc import Callable, Iterator

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from gpu.draw.compositing import FULL, row_bands
from gpu.media.audio import Samples
from gpu.media.planes import empty_frame, view_planes

Gains = NDArray[np.float32]
GainCurve = Callable[[Gains], Gains]


def crossfade_frames(outgoing: VideoFrame, incoming: VideoFrame, fraction: float) -> VideoFrame:
    """Mix two frames, the incoming one with a weight of `fraction` (0 to 1)."""
    weight = round(fraction * FULL)
    result = empty_frame(incoming)
    for target, old, new in zip(
        view_planes(result), view_planes(outgoing), view_planes(incoming), strict=True
    ):
        for band in row_bands(*target.shape):
            total = np.multiply(old[band], np.uint16(FULL - weight), dtype=np.uint16)
            total += np.multiply(new[band], np.uint16(weight), dtype=np.uint16)
            total += np.uint16(FULL // 2)
            total >>= np.uint16(8)
            np.copyto(target[band], total, casting="unsafe")
    return result


def linear_gain(position: Gains) -> Gains:
    """Return a gain that rises linearly, for a fade from or to silence."""
    return position


def equal_power_gain(position: Gains) -> Gains:
    """Return a gain for a crossfade: two uncorrelated sounds together keep their level."""
    gains: Gains = np.sin(position * np.float32(np.pi / 2))
    return gains


def apply_envelope(
    blocks: Iterator[Samples], total: int, rise: int, fall: int, curve: GainCurve
) -> Iterator[Samples]:
    """Fade in the first `rise` and fade out the last `fall` of `total` samples."""
    position = 0
    for block in blocks:
        after = position + block.shape[1]
        if position < rise or after > total - fall:
            at = np.arange(position, after, dtype=np.float32) + np.float32(0.5)
            gain = curve(np.clip(at / max(rise, 1), 0, 1)) if rise else np.ones_like(at)
            yield block * (gain * curve(np.clip((total - at) / fall, 0, 1)) if fall else gain)
        else:
            yield block
        position = after


def mix_audio(blocks: Iterator[Samples], tail: Samples) -> Iterator[Samples]:
    """Add the tail of the previous clip to the first samples, clipped to -1..1."""
    position = 0
    for block in blocks:
        shared = tail[:, position : position + block.shape[1]]
        position += block.shape[1]
        if not shared.shape[1]:
            yield block
            continue
        mixed = block.copy()
        mixed[:, : shared.shape[1]] += shared
        yield np.clip(mixed, -1, 1)
