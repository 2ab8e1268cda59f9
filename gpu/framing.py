"""Framing: a crop that follows its keyframes, scaled to the size asked for.

The crop's edges lie between pixels, and a crop filter knows whole ones. So the frame is cropped a little wider, scaled
by the exact factor, and cropped once more among the finer pixels of the output: a slow pan glides.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from av.filter import Graph
from av.filter.context import FilterContext
from av.video.frame import VideoFrame

from gpu import timeline
from gpu.decode import Pictures, pictures
from gpu.errors import ExportError
from gpu.keyframes import Spline, Values
from gpu.normalize import PIXEL_FORMAT
from gpu.render import Render
from gpu.sound import sound
from gpu.source import Source
from gpu.spec import MAX_SIDE, CropKeyframe, FramingConfig

# Lanczos looks this far beyond the crop's edge, so that the edge shows the picture and no repeated border.
_MARGIN = 2
_SMALLEST_CROP = 2.0


@dataclass(frozen=True)
class Crop:
    """A rectangle of the source, in pixels with fractions; `x`, `y` is its top left corner."""

    x: float
    y: float
    width: float
    height: float


def plan(config: FramingConfig, sources: Mapping[str, Source]) -> Render:
    """Check a framing against its source. Raises ExportError: crop_outside_source, clip_outside_source."""
    source = sources[config.input_key]
    _check_inside(config.keyframes, source)
    start, end = timeline.span(source.duration, config.trim)
    cut = timeline.pieces(start, end, config.segments)
    clock = timeline.clock(config.fps, source.rate, source.variable, cut)
    seconds = timeline.length(cut, clock)
    width, height = output_size(config)
    return Render(
        width=width,
        height=height,
        clock=clock,
        seconds=seconds,
        pictures=lambda ticks: _framed(pictures(source, cut, clock, ticks), config, source, (width, height)),
        sound=sound(source, cut, seconds) if config.include_audio and source.audio is not None else None,
    )


def output_size(config: FramingConfig) -> tuple[int, int]:
    """Even width and height: as asked, the first crop's shape where one is open, its size where both are."""
    first = config.keyframes[0]
    width, height = config.output_width, config.output_height
    if width is None and height is None:
        return _even(first.width), _even(first.height)
    if width is None:
        return _even(first.width / first.height * (height or 0)), height or 0
    return width, height or _even(first.height / first.width * width)


def _even(length: float) -> int:
    return min(max(16, 2 * round(length / 2)), MAX_SIDE)


def _check_inside(keyframes: list[CropKeyframe], source: Source) -> None:
    for key in keyframes:
        beside = key.x >= source.width or key.x + key.width <= 0
        if beside or key.y >= source.height or key.y + key.height <= 0:
            message = (
                f"The crop at {key.time:.2f} s lies outside the picture of {source.width} x {source.height}."
            )
            raise ExportError("crop_outside_source", message)


def crop_path(keyframes: list[CropKeyframe]) -> Spline:
    """How the crop moves: x, y, width and height over the source's time."""
    return Spline(
        [key.time for key in keyframes],
        [(key.x, key.y, key.width, key.height) for key in keyframes],
    )


def clamped(values: Values, source: Source) -> Crop:
    """The crop (x, y, width, height) moved, and if need be shrunk, until it lies within the frame."""
    x, y, width, height = values
    width = min(max(width, _SMALLEST_CROP), source.width)
    height = min(max(height, _SMALLEST_CROP), source.height)
    return Crop(
        min(max(x, 0.0), source.width - width), min(max(y, 0.0), source.height - height), width, height
    )


def _framed(found: Pictures, config: FramingConfig, source: Source, size: tuple[int, int]) -> Pictures:
    path = crop_path(config.keyframes)
    window = Window(source.width, source.height, *size, rotation=config.rotation)
    try:
        for picture in found:
            crop = clamped(path.at(picture.time), source)
            yield replace(picture, frame=window.shown(picture.frame, crop))
    finally:
        found.close()


@dataclass(frozen=True)
class Axis:
    """One axis of a crop in whole pixels: take `length` from `start`, scale to `scaled`, keep `out` from `offset`."""

    start: int
    length: int
    scaled: int
    offset: int


def axis(start: float, length: float, frame: int, out: int) -> Axis:
    """How to show `length` from `start` of a frame's side as `out` pixels, to a fraction of one."""
    taken = min(frame, 2 * math.ceil(length / 2) + 2 * _MARGIN)
    begin = max(0, min(2 * math.floor(start / 2) - _MARGIN, frame - taken))
    scaled = max(out, round(taken * out / length))
    centre = (start + length / 2 - begin) * scaled / taken
    return Axis(begin, taken, scaled, min(max(0, round(centre - out / 2)), scaled - out))


class Window:
    """The filter graph behind a moving crop; one frame in, one frame of the output's size out."""

    def __init__(self, width: int, height: int, out_width: int, out_height: int, *, rotation: float) -> None:
        self._frame = (width, height)
        self._out = (out_width, out_height)
        self._graph = graph = Graph()
        self._chain = [graph.add("buffer", _buffer(width, height))]
        if rotation:
            self._chain.append(graph.add("rotate", f"a={math.radians(rotation):.9f}:fillcolor=black"))
        self._wide = self._added("crop", f"w={width}:h={height}:x=0:y=0:exact=1")
        self._scale = self._added("scale", f"w={out_width}:h={out_height}:flags=lanczos")
        self._exact = self._added("crop", f"w={out_width}:h={out_height}:x=0:y=0:exact=1")
        graph.link_nodes(*self._chain, graph.add("buffersink"))
        graph.configure()

    def shown(self, frame: VideoFrame, crop: Crop) -> VideoFrame:
        """What the crop shows of the frame."""
        across = axis(crop.x, crop.width, self._frame[0], self._out[0])
        down = axis(crop.y, crop.height, self._frame[1], self._out[1])
        _tell(self._wide, w=across.length, h=down.length, x=across.start, y=down.start)
        _tell(self._scale, w=across.scaled, h=down.scaled)
        _tell(self._exact, x=across.offset, y=down.offset)
        self._graph.vpush(frame)
        return self._graph.vpull()

    def _added(self, name: str, arguments: str) -> FilterContext:
        self._chain.append(self._graph.add(name, arguments))
        return self._chain[-1]


def _buffer(width: int, height: int) -> str:
    size = f"video_size={width}x{height}:pix_fmt={PIXEL_FORMAT}"
    return f"{size}:time_base=1/1000000:pixel_aspect=1/1:colorspace=bt709:range=tv"


def _tell(context: FilterContext, **values: int) -> None:
    for name, value in values.items():
        context.process_command(name, str(value))
