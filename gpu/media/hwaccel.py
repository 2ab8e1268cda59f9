"""What the machine's graphics card can do, asked of the card itself."""

from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from typing import cast

import av
from av.codec.hwaccel import HWAccel
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext


@cache
def has_cuda() -> bool:
    """Whether a CUDA device answers."""
    try:
        HWAccel("cuda").create(av.Codec("h264", "r"))
    except (FFmpegError, NotImplementedError, ValueError):
        return False
    return True


def open_hardware_decoder() -> HWAccel | None:
    """The card's decoder where there is one; FFmpeg falls back to software for what it can't decode."""
    return HWAccel("cuda", allow_software_fallback=True) if has_cuda() else None


def unsupported_reason(encoder: str, options: Mapping[str, str], width: int, height: int) -> str | None:
    """Why the card doesn't open this encoder, in FFmpeg's words; None if it does.

    A100- and H100-class cards have none at all, others take no such size, or have no session left to give.
    """
    trial = cast(VideoCodecContext, av.CodecContext.create(encoder, "w"))
    trial.width, trial.height, trial.pix_fmt = width, height, "yuv420p"
    trial.time_base = Fraction(1, 30)
    trial.options = dict(options)
    try:
        trial.open()
    except FFmpegError as error:
        return error.strerror
    return None
