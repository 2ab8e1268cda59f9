"""How one picture and one sound give way to the next."""

from collections.abc import Callable, Iterator

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from gpu.media.audio import Samples
from gpu.media.planes import blank, planes

Gains = NDArray[np.float32]
Curve = Callable[[Gains], Gains]


def dissolved(leaving: VideoFrame, coming: VideoFrame, share: float) -> VideoFrame:
    """Both pictures at once, the coming one with a weight of `share` (0 to 1)."""
    weight = round(share * 256)
    mixed = blank(coming)
    for target, old, new in zip(planes(mixed), planes(leaving), planes(coming), strict=True):
        summed = old * np.uint16(256 - weight)
        summed += new * np.uint16(weight)
        summed += 128
        np.copyto(target, summed >> 8, casting="unsafe")
    return mixed


def straight(position: Gains) -> Gains:
    """A gain that rises evenly, for sound that goes into silence or comes out of it."""
    return position


def equal_power(position: Gains) -> Gains:
    """A gain for two sounds that cross: together they stay as loud as either was."""
    gains: Gains = np.sin(position * np.float32(np.pi / 2))
    return gains


def enveloped(blocks: Iterator[Samples], total: int, rise: int, fall: int, curve: Curve) -> Iterator[Samples]:
    """The same blocks, `total` samples together, the first `rise` of them swelling and the last `fall` dying away."""
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


def overlaid(blocks: Iterator[Samples], tail: Samples) -> Iterator[Samples]:
    """The blocks with the tail of other sound added from their beginning on, held within -1..1."""
    position = 0
    for block in blocks:
        shared = tail[:, position : position + block.shape[1]]
        position += block.shape[1]
        if not shared.shape[1]:
            yield block
            continue
        both = block.copy()
        both[:, : shared.shape[1]] += shared
        yield np.clip(both, -1, 1)
