"""Videos of several video and audio streams, and the level of a tone in their exports."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.stream import Disposition
from av.video.stream import VideoStream

from tests.support.videos import SOUND_RATE, Tone, read_samples

SECONDS = 1.0
Packets = list["av.Packet[av.stream.Stream]"]


@dataclass(frozen=True)
class VideoSpec:
    """A video stream of one grey."""

    luma: int
    size: tuple[int, int] = (320, 180)
    frames: int = 30
    codec: str = "libx264"
    default: bool = True


@dataclass(frozen=True)
class AudioSpec:
    """An audio stream of one tone; 0 Hz is silence."""

    hertz: float
    layout: str = "mono"
    codec: str = "aac"
    default: bool = True
    title: str = ""
    language: str = ""


def make_tone(hertz: float, channels: int = 1, seconds: float = SECONDS) -> Tone:
    """Return a sine of -18 dB, the same in all channels."""
    wave = np.sin(2 * np.pi * hertz * np.arange(round(seconds * SOUND_RATE)) / SOUND_RATE) / 8
    return np.tile(wave.astype(np.float32), (channels, 1))


def write_streams(path: Path, *streams: VideoSpec | AudioSpec) -> Path:
    """Write the streams into one file, in this order."""
    with av.open(str(path), "w") as container:
        packets: list[av.Packet[av.stream.Stream]] = []
        opened = [_add_stream(container, stream) for stream in streams]
        for spec, stream in zip(streams, opened, strict=True):
            frames = _video_frames(spec) if isinstance(spec, VideoSpec) else [_audio_frame(spec)]
            for frame in [*frames, None]:
                packets += cast(Packets, stream.encode(frame))
        for packet in sorted(packets, key=lambda packet: float((packet.dts or 0) * packet.time_base)):
            container.mux(packet)
    return path


def _add_stream(
    container: av.container.OutputContainer, spec: VideoSpec | AudioSpec
) -> VideoStream | AudioStream:
    stream: VideoStream | AudioStream
    if isinstance(spec, VideoSpec):
        stream = cast(VideoStream, container.add_stream(spec.codec, rate=30))
        stream.width, stream.height = spec.size
        stream.pix_fmt = "yuvj420p" if spec.codec == "mjpeg" else "yuv420p"
    else:
        stream = cast(AudioStream, container.add_stream(spec.codec, rate=SOUND_RATE))
        stream.codec_context.layout = spec.layout
        stream.metadata.update({"title": spec.title, "language": spec.language})
    stream.disposition = Disposition.default if spec.default else Disposition(0)
    return stream


def _video_frames(spec: VideoSpec) -> list[av.VideoFrame]:
    frames = []
    for number in range(spec.frames):
        planes = np.full((spec.size[1] * 3 // 2, spec.size[0]), 128, np.uint8)
        planes[: spec.size[1]] = spec.luma
        frame = av.VideoFrame.from_ndarray(planes, "yuvj420p" if spec.codec == "mjpeg" else "yuv420p")
        frame.pts, frame.time_base = number, Fraction(1, 30)
        frames.append(frame)
    return frames


def _audio_frame(spec: AudioSpec) -> AudioFrame:
    channels = av.AudioLayout(spec.layout).nb_channels
    frame = AudioFrame.from_ndarray(make_tone(spec.hertz, channels), format="fltp", layout=spec.layout)
    frame.sample_rate, frame.time_base, frame.pts = SOUND_RATE, Fraction(1, SOUND_RATE), 0
    return frame


def tone_levels(path: Path, hertz: float) -> tuple[float, float]:
    """Return the level of a tone on the left and on the right, in dB of full scale."""
    samples = read_samples(path)
    window = np.hanning(samples.shape[1])
    spectrum = np.abs(np.fft.rfft(samples * window)) * 2 / window.sum()
    near = np.abs(np.fft.rfftfreq(samples.shape[1], 1 / SOUND_RATE) - hertz) < 20
    left, right = 20 * np.log10(spectrum[:, near].max(axis=1) + 1e-9)
    return float(left), float(right)
