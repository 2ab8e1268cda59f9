"""Find out what the machine's GPU supports by trying it."""

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
    """Return whether a CUDA device can be opened."""
    try:
        HWAccel("cuda").create(av.Codec("h264", "r"))
    except (FFmpegError, NotImplementedError, ValueError):
        return False
    return True


def open_hardware_decoder() -> HWAccel | None:
    """Return the GPU's decoder, or None without a GPU.

    FFmpeg falls back to software for streams that the GPU can't decode.
    """
    return HWAccel("cuda", allow_software_fallback=True) if has_cuda() else None


def find_encoder_error(encoder: str, options: Mapping[str, str], width: int, height: int) -> str | None:
    """Return why the GPU doesn't open this encoder, as FFmpeg says it; None if it does.

    A100 and H100 GPUs have no encoder at all; others don't support the size, or have no free session.
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
