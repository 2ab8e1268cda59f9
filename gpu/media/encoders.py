"""Select and configure the encoder; only here are quality, speed and codec options set."""

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
# x264 holds 6.4 MB for each 1080p frame that it looks ahead. Looking 20 frames ahead, not the 30 of its preset, takes
# 0.5 % more bits for the same SSIM on camera footage, 3 % on heavy grain; 30 frames, not 50, take 0.1 to 0.3 %.
_SOFTWARE: dict[Codec, tuple[str, dict[Quality, Options]]] = {
    Codec.H264: ("libx264", {
        Quality.DRAFT: {"preset": "superfast", "crf": "27"},
        Quality.STANDARD: {"preset": "fast", "crf": "21", "rc-lookahead": "20"},
        Quality.HIGH: {"preset": "slow", "crf": "17", "rc-lookahead": "30"},
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
CODEC_TAGS = {Codec.HEVC: "hvc1"}  # the only HEVC tag that Apple's players accept
_NVENC_PRESETS = {Quality.DRAFT: "p2", Quality.STANDARD: "p4", Quality.HIGH: "p6"}


@dataclass(frozen=True)
class Encoder:
    """An FFmpeg encoder with its options.

    `fallback_reason` says why it is not the GPU's encoder, and is empty if it is. `threads` is how many it may use;
    with 0 the encoder decides, and uses the whole machine.
    """

    name: str
    options: Options
    tag: str | None
    fallback_reason: str
    threads: int = 0
    is_hardware: bool = False

    def describe(self, chunks: int = 1) -> str:
        """Describe the encoder for the job's timeline."""
        action = f"Encoding in {chunks} chunks" if chunks > 1 else "Encoding"
        return f"{action} with {self.name}{f' ({self.fallback_reason})' if self.fallback_reason else ''}"

    def to_reproducible(self) -> "Encoder":
        """Return the encoder with options that make its output the same in every run, so that chunks fit together.

        With AVX-512, x264's output differs from one run to the next (seen with mbtree); without, 1080p took 14 % more
        CPU. What an option names x264 uses without checking the processor, so the processor is checked here.
        """
        if self.name != "libx264" or not _has_avx512():
            return self
        return replace(self, options=_add_parameter(self.options, "x264-params", _WITHOUT_AVX512))

    def with_cores_for(self, chunks: int) -> "Encoder":
        """Return the encoder limited to its share of the cores, for `chunks` encoded in parallel.

        x264 is not limited: its output depends on the number of threads, and every chunk must be encoded as the whole.
        """
        if self.name == "libx264":
            return self
        threads = max(1, count_cores() // chunks)
        options = dict(self.options)
        if self.name in _THREAD_OPTIONS:
            option, text = _THREAD_OPTIONS[self.name]
            options = _add_parameter(options, option, text.format(threads))
        return replace(self, options=options, threads=threads)


def _add_parameter(options: Options, name: str, parameter: str) -> Options:
    """Add a parameter of the encoder itself to the option that passes them on."""
    return options | {name: ":".join(filter(None, (options.get(name), parameter)))}


_WITHOUT_AVX512 = "asm=AVX2"
# x264's own default, but capped: on machines with very many cores more threads only cost memory and quality.
_MAX_X264_THREADS = 16
# These two have their own thread pools, and options for them.
_THREAD_OPTIONS = {"libx265": ("x265-params", "pools={}"), "libsvtav1": ("svtav1-params", "lp={}")}


def count_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def select_encoder(codec: Codec, quality: Quality, width: int, height: int) -> Encoder:
    """Return the GPU's encoder if it supports this codec and size, else the software encoder."""
    if not hwaccel.has_cuda():
        return software_encoder(codec, quality, "no NVENC device")
    encoder = nvenc_encoder(codec, quality)
    reason = hwaccel.find_encoder_error(encoder.name, encoder.options, width, height)
    return (
        encoder if reason is None else software_encoder(codec, quality, f"{encoder.name} refused: {reason}")
    )


def nvenc_encoder(codec: Codec, quality: Quality) -> Encoder:
    """Return the NVENC encoder, whether or not the machine has one."""
    name, constant_quality = _NVENC[codec]
    options = {"preset": _NVENC_PRESETS[quality], "rc": "vbr", "cq": constant_quality[quality], "b": "0"}
    return Encoder(name, options, CODEC_TAGS.get(codec), "", is_hardware=True)


def software_encoder(codec: Codec, quality: Quality, fallback_reason: str) -> Encoder:
    """Return the software encoder, which every machine has."""
    name, by_quality = _SOFTWARE[codec]
    threads = min(_MAX_X264_THREADS, max(1, count_cores() * 3 // 2)) if name == "libx264" else 0
    return Encoder(name, by_quality[quality], CODEC_TAGS.get(codec), fallback_reason, threads)


@cache
def _has_avx512() -> bool:
    try:
        return "avx512bw" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def keyframe_interval(rate: Fraction) -> int:
    """Return the maximum number of frames between keyframes, short enough for seeking."""
    return max(1, round(KEYFRAME_SECONDS * rate))
