"""The one encode profile: how good, how fast, by which encoder. Nothing is encoded but by these settings."""

import os
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path

from gpu.config import Codec, Quality
from gpu.media import hwaccel

AUDIO_SAMPLE_RATE = 48_000
AUDIO_CODEC = "aac"
AUDIO_BITS_PER_SECOND = 192_000
KEYFRAME_SECONDS = 2

Options = dict[str, str]

_X265_QUIET = "log-level=none"
_SOFTWARE: dict[Codec, tuple[str, dict[Quality, Options]]] = {
    Codec.H264: ("libx264", {
        Quality.DRAFT: {"preset": "superfast", "crf": "27"},
        Quality.STANDARD: {"preset": "fast", "crf": "21"},
        Quality.HIGH: {"preset": "slow", "crf": "17"},
    }),
    Codec.HEVC: ("libx265", {
        Quality.DRAFT: {"preset": "ultrafast", "crf": "24", "x265-params": _X265_QUIET},
        Quality.STANDARD: {"preset": "fast", "crf": "24", "x265-params": _X265_QUIET},
        Quality.HIGH: {"preset": "medium", "crf": "20", "x265-params": _X265_QUIET},
    }),
    Codec.AV1: ("libsvtav1", {
        Quality.DRAFT: {"preset": "9", "crf": "42"},
        Quality.STANDARD: {"preset": "8", "crf": "33"},
        Quality.HIGH: {"preset": "6", "crf": "25"},
    }),
}  # fmt: skip
_NVENC = {
    Codec.H264: ("h264_nvenc", {Quality.DRAFT: "30", Quality.STANDARD: "23", Quality.HIGH: "18"}),
    Codec.HEVC: ("hevc_nvenc", {Quality.DRAFT: "32", Quality.STANDARD: "25", Quality.HIGH: "20"}),
    Codec.AV1: ("av1_nvenc", {Quality.DRAFT: "40", Quality.STANDARD: "32", Quality.HIGH: "25"}),
}
CODEC_TAGS = {Codec.HEVC: "hvc1"}  # Apple's players take no other
_NVENC_PRESETS = {Quality.DRAFT: "p2", Quality.STANDARD: "p4", Quality.HIGH: "p6"}


@dataclass(frozen=True)
class Encoder:
    """An encoder of FFmpeg's with its options; `why` says why it's not the card's, when it isn't.

    `threads` is how many it may use; 0 leaves it to the encoder, which takes the whole machine.
    """

    name: str
    options: Options
    tag: str | None
    fallback_reason: str
    threads: int = 0
    is_hardware: bool = False

    def describe(self, pieces: int = 1) -> str:
        """What the timeline says of it."""
        how = f"Encoding in {pieces} pieces" if pieces > 1 else "Encoding"
        return f"{how} with {self.name}{f' ({self.fallback_reason})' if self.fallback_reason else ''}"

    def with_cores_for(self, pieces: int) -> "Encoder":
        """The same for several at once on this machine, each with its part of the cores.

        But x264 decides otherwise with another number of threads, so theirs is the whole's, wherever a piece is made.
        """
        if self.name == "libx264":
            return self
        threads = max(1, count_cores() // pieces)
        options = dict(self.options)
        if self.name in _THREADS:
            option, text = _THREADS[self.name]
            options[option] = ":".join(filter(None, (options.get(option), text.format(threads))))
        return replace(self, options=options, threads=threads)


# As x264 itself would take, but for machines with a great many cores: there it only costs memory and quality.
_MOST_THREADS = 16
# These two have pools of their own, and go by their own options.
_THREADS = {"libx265": ("x265-params", "pools={}"), "libsvtav1": ("svtav1-params", "lp={}")}


def count_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def select_encoder(codec: Codec, quality: Quality, width: int, height: int) -> Encoder:
    """The card's encoder where the card has one for this codec and size, else the software one."""
    if not hwaccel.has_cuda():
        return software_encoder(codec, quality, "no NVENC device")
    encoder = nvenc_encoder(codec, quality)
    refusal = hwaccel.unsupported_reason(encoder.name, encoder.options, width, height)
    return (
        encoder if refusal is None else software_encoder(codec, quality, f"{encoder.name} refused: {refusal}")
    )


def nvenc_encoder(codec: Codec, quality: Quality) -> Encoder:
    """The encoder of a card, whether or not there is one."""
    name, constant_quality = _NVENC[codec]
    options = {"preset": _NVENC_PRESETS[quality], "rc": "vbr", "cq": constant_quality[quality], "b": "0"}
    return Encoder(name, options, CODEC_TAGS.get(codec), "", is_hardware=True)


def software_encoder(codec: Codec, quality: Quality, why: str) -> Encoder:
    """The encoder that every machine has."""
    name, by_quality = _SOFTWARE[codec]
    threads = min(_MOST_THREADS, max(1, count_cores() * 3 // 2)) if name == "libx264" else 0
    return Encoder(
        name, by_quality[quality] | _deterministic_options(name), CODEC_TAGS.get(codec), why, threads
    )


def _deterministic_options(name: str) -> Options:
    """What makes the same of the same film every time: else pieces would not fit a whole.

    x264 does not where it uses AVX-512 (found: with mbtree, from one run to the next); without it takes as long. Told
    to use AVX2 it does so without a look at the processor, so that is asked first.
    """
    return {"x264-params": "asm=AVX2"} if name == "libx264" and _has_avx512() else {}


@cache
def _has_avx512() -> bool:
    try:
        return "avx512bw" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def keyframe_interval(rate: Fraction) -> int:
    """Frames from one keyframe to the next at most: short enough to seek in."""
    return max(1, round(KEYFRAME_SECONDS * rate))
