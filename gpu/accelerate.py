"""What the machine's graphics card can do, asked of the card itself."""

from fractions import Fraction
from functools import cache
from typing import cast

import av
from av.codec.hwaccel import HWAccel
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext


@cache
def cuda_present() -> bool:
    """Whether a CUDA device answers."""
    try:
        HWAccel("cuda").create(av.Codec("h264", "r"))
    except (FFmpegError, NotImplementedError, ValueError):
        return False
    return True


def decoder() -> HWAccel | None:
    """The card's decoder where there is one; FFmpeg falls back to software for what it can't decode."""
    return HWAccel("cuda", allow_software_fallback=True) if cuda_present() else None


def can_encode(codec: str, width: int, height: int) -> bool:
    """Whether the card opens this encoder at this size; A100- and H100-class cards have none at all."""
    if not cuda_present():
        return False
    trial = cast(VideoCodecContext, av.CodecContext.create(codec, "w"))
    trial.width, trial.height, trial.pix_fmt = width, height, "yuv420p"
    trial.time_base = Fraction(1, 30)
    try:
        trial.open()
    except FFmpegError:
        return False
    return True
