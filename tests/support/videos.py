"""Write small videos for tests, and measure exported ones."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

Luma = NDArray[np.uint8]
Tone = NDArray[np.float32]
Draw = Callable[[float], Luma]

WIDTH, HEIGHT = 320, 180
SOUND_RATE = 48_000
BLACK, WHITE = 16, 235


def dot(x: float, y: float, *, width: int = WIDTH, height: int = HEIGHT, radius: float = 6.0) -> Luma:
    """Draw a soft white dot with its centre of mass at (x, y), in pixels from the top left corner."""
    down, across = np.mgrid[0:height, 0:width] + 0.5
    glow = np.exp(-((across - x) ** 2 + (down - y) ** 2) / (2 * radius**2))
    return cast(Luma, (BLACK + (WHITE - BLACK) * glow).astype(np.uint8))


def flash(at: float, lasting: float = 0.1, *, width: int = WIDTH, height: int = HEIGHT) -> Draw:
    """Draw black, and white for `lasting` seconds from `at` on."""
    return lambda time: np.full(
        (height, width), WHITE if at <= time + 1e-6 < at + lasting else BLACK, np.uint8
    )


def clicks(seconds: float, *times: float, rate: int = SOUND_RATE) -> Tone:
    """Return one channel of silence with bursts of 20 ms of a 1 kHz tone."""
    read_samples = np.zeros(round(seconds * rate), np.float32)
    for time in times:
        begun = round(time * rate)
        burst = np.sin(2 * np.pi * 1_000 * np.arange(rate // 50) / rate) * 0.8
        read_samples[begun : begun + burst.size] = burst[: read_samples.size - begun]
    return read_samples


@dataclass(frozen=True)
class Video:
    """How a source is made. `times` are its frames' times in seconds; `tone` is (channels, samples).

    `start` moves all of it, `sound_start` its sound alone.
    """

    draw: Draw
    times: tuple[float, ...]
    tone: Tone | None = None
    layout: str = "mono"
    sound_rate: int = SOUND_RATE
    sound_codec: str = "aac"
    sound_options: tuple[tuple[str, str], ...] = ()
    codec: str = "libx264"
    options: tuple[tuple[str, str], ...] = (("preset", "ultrafast"), ("crf", "16"))
    pixel_format: str = "yuv420p"
    time_base: Fraction = Fraction(1, 15_360)
    rate: Fraction = Fraction(30)
    colors: tuple[int, int, int, int] = (1, 1, 1, 1)
    display_rotation: float = 0.0
    mirrored: bool = False
    aspect: Fraction | None = None
    start: float = 0.0
    sound_start: float = 0.0
    metadata: tuple[tuple[str, str], ...] = ()
    container_options: tuple[tuple[str, str], ...] = ()


def frame_times(seconds: float, rate: float = 30) -> tuple[float, ...]:
    """Return the times of frames at a constant rate."""
    return tuple(number / rate for number in range(round(seconds * rate)))


def write_video(path: Path, video: Video) -> Path:
    """Write the video; the suffix of the path selects the container."""
    with av.open(str(path), "w", options=dict(video.container_options)) as container:
        container.metadata.update(dict(video.metadata))
        first = video.draw(video.times[0])
        stream = cast(
            VideoStream, container.add_stream(video.codec, rate=video.rate, options=dict(video.options))
        )
        stream.height, stream.width = first.shape
        stream.pix_fmt = video.pixel_format
        context = stream.codec_context
        context.time_base = video.time_base
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = video.colors
        if video.aspect is not None:
            context.sample_aspect_ratio = video.aspect
        if video.display_rotation or video.mirrored:
            stream.set_display_rotation(video.display_rotation, hflip=video.mirrored)
        sound = _sound_stream(container, video)
        for time in video.times:
            container.mux(stream.encode(_frame(video, time)))
        container.mux(stream.encode(None))
        if sound is not None:
            container.mux(sound.encode(_tone(video)))
            container.mux(sound.encode(None))
    return path


def _sound_stream(container: av.container.OutputContainer, video: Video) -> AudioStream | None:
    if video.tone is None:
        return None
    options = dict(video.sound_options)
    stream = cast(
        AudioStream, container.add_stream(video.sound_codec, rate=video.sound_rate, options=options)
    )
    stream.codec_context.layout = video.layout
    return stream


def _frame(video: Video, time: float) -> VideoFrame:
    luma = video.draw(time)
    frame = VideoFrame(luma.shape[1], luma.shape[0], "yuv420p")
    _fill(frame, 0, luma)
    for plane in (1, 2):
        _fill(frame, plane, np.full((frame.planes[plane].height, frame.planes[plane].width), 128, np.uint8))
    frame = frame.reformat(format=video.pixel_format)
    frame.pts = round((time + video.start) / video.time_base)
    frame.time_base = video.time_base
    return frame


def _fill(frame: VideoFrame, plane: int, values: Luma) -> None:
    """Set a plane's samples; its rows are padded."""
    target = frame.planes[plane]
    rows = np.zeros((target.height, target.line_size), np.uint8)
    rows[:, : values.shape[1]] = values
    target.update(rows.tobytes())


def _tone(video: Video) -> AudioFrame:
    assert video.tone is not None
    tone = video.tone if video.tone.ndim == 2 else video.tone[np.newaxis]
    interleaved = np.ascontiguousarray(tone.T).reshape(1, -1)  # PyAV can't fill more than seven planes
    frame = AudioFrame.from_ndarray(interleaved, format="flt", layout=video.layout)
    frame.sample_rate = video.sound_rate
    frame.time_base = Fraction(1, video.sound_rate)
    frame.pts = round((video.start + video.sound_start) * video.sound_rate)
    return frame


def read_lumas(path: Path) -> list[tuple[float, Luma]]:
    """Return time and luma (16..235) of every frame of a yuv420p file."""
    with av.open(str(path)) as container:
        return [(frame.time, _plane(frame)) for frame in container.decode(video=0)]


def _plane(frame: VideoFrame) -> Luma:
    return cast(Luma, frame.to_ndarray()[: frame.height, : frame.width].copy())


def find_dot(luma: Luma) -> tuple[float, float]:
    """Return the dot's centre of mass, in pixels from the top left corner."""
    mass = np.clip(luma.astype(np.float64) - BLACK - 24, 0, None)
    down, across = np.mgrid[0 : luma.shape[0], 0 : luma.shape[1]] + 0.5
    return float((across * mass).sum() / mass.sum()), float((down * mass).sum() / mass.sum())


def read_samples(path: Path) -> Tone:
    """Return the audio samples as players play them, shape (channels, n), from time 0."""
    with av.open(str(path)) as container:
        blocks = [(frame.pts or 0, cast(Tone, frame.to_ndarray())) for frame in container.decode(audio=0)]
    result = np.zeros((blocks[0][1].shape[0], max(pts + block.shape[1] for pts, block in blocks)), np.float32)
    for pts, block in blocks:
        begun = max(pts, 0)
        result[:, begun : pts + block.shape[1]] = block[:, begun - pts :]
    return result


def click_times(path: Path) -> list[float]:
    """Return the time at which each burst begins, in seconds."""
    loud = np.abs(read_samples(path)[0]) > 0.2
    loud_times = np.flatnonzero(loud) / SOUND_RATE
    return [
        float(time)
        for index, time in enumerate(loud_times)
        if index == 0 or time - loud_times[index - 1] > 0.1
    ]
