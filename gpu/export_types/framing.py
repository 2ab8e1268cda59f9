"""Framing: a crop that follows its keyframes, scaled to the size asked for.

The crop's edges lie between pixels, and a crop filter knows whole ones. So the frame is cropped a little wider, scaled
by the exact factor, and cropped once more among the finer pixels of the output: a slow pan glides.

Nothing is distorted: a crop of another shape than the output is fitted into it, and where it reaches beyond the picture
the background is seen.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from av.filter import Graph
from av.filter.context import FilterContext
from av.video.frame import VideoFrame

from gpu.draw.compositing import background_yuv
from gpu.errors import ExportError
from gpu.export_types.keyframes import Spline, Values
from gpu.export_types.turned_picture import Pixels, find_overhang, limit_start
from gpu.media import timeline
from gpu.media.audio import sound
from gpu.media.color import PIXEL_FORMAT
from gpu.media.decode import Pictures, pictures
from gpu.media.encode import Render
from gpu.media.fit import even
from gpu.media.planes import planes
from gpu.sources.source import Source
from gpu.spec import MAX_SIDE, CropKeyframe, FramingConfig

# Lanczos looks this far beyond the crop's edge, so that the edge shows the picture and no repeated border.
_MARGIN = 2
_SMALLEST_CROP = 2.0
# Crops are told in whole pixels: one of nearly the output's shape is meant to have it.
_ROUNDED = 1.02


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
    start, end = timeline.span(source.film_start, source.duration, config.trim)
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


def clamped(values: Values, frame: Pixels, overhang: Pixels) -> Crop:
    """The crop (x, y, width, height) moved until it lies within the picture, or all of the picture within it."""
    x, y, width, height = values
    width, height = max(width, _SMALLEST_CROP), max(height, _SMALLEST_CROP)
    x, y = limit_start(x, width, frame[0], overhang[0]), limit_start(y, height, frame[1], overhang[1])
    return Crop(x, y, width, height)


def _framed(found: Pictures, config: FramingConfig, source: Source, size: tuple[int, int]) -> Pictures:
    path = crop_path(config.keyframes)
    frame = source.width, source.height
    overhang = find_overhang(config.keyframes, frame, config.rotation)
    window = Window(frame, size, overhang, rotation=config.rotation, background=source.background)
    try:
        for picture in found:
            crop = clamped(path.at(picture.time), frame, overhang)
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


@dataclass(frozen=True)
class Extent:
    """What a crop shows along one axis: `length` of the frame from `start`, as `out` pixels from `offset`."""

    start: float
    length: float
    out: int
    offset: int


def fit_crop(crop: Crop, frame: Pixels, out: Pixels, overhang: Pixels = (0, 0)) -> tuple[Extent, Extent]:
    """Fit a crop into the output as large as it can be; what of it lies beyond the picture is not shown."""
    scale = min(out[0] / crop.width, out[1] / crop.height)
    across = _fit_axis(crop.x, crop.width, frame[0], overhang[0], out[0], scale)
    return across, _fit_axis(crop.y, crop.height, frame[1], overhang[1], out[1], scale)


def _fit_axis(start: float, length: float, frame: int, overhang: int, out: int, scale: float) -> Extent:
    """As `fit_crop`, along one axis; a crop of nearly the output's shape is made to have it."""
    filling = out / scale
    if filling <= length * _ROUNDED:
        start, length = limit_start(start - (filling - length) / 2, filling, frame, overhang), filling
    begin, end = max(-float(overhang), start), min(float(frame + overhang), start + length)
    shown = min(out, max(2, even((end - begin) * scale)))
    offset = even((out - length * scale) / 2 + (begin - start) * scale)
    return Extent(begin, end - begin, shown, min(max(0, offset), out - shown))


class Window:
    """The filter graph behind a moving crop; one frame in, one frame of the output's size out."""

    def __init__(
        self, frame: Pixels, out: Pixels, overhang: Pixels, *, rotation: float, background: str
    ) -> None:
        self._frame, self._overhang = frame, overhang
        self._out = self._shown = out
        width, height = self._turned = frame[0] + 2 * overhang[0], frame[1] + 2 * overhang[1]
        self._background = background_yuv(background)
        self._graph = graph = Graph()
        self._chain = [graph.add("buffer", _buffer(*frame))]
        if rotation:
            turn = f"a={math.radians(rotation):.9f}:ow={width}:oh={height}:fillcolor={background}"
            self._chain.append(graph.add("rotate", turn))
        self._wide = self._added("crop", f"w={width}:h={height}:x=0:y=0:exact=1")
        self._scale = self._added("scale", f"w={out[0]}:h={out[1]}:flags=lanczos")
        self._exact = self._added("crop", f"w={out[0]}:h={out[1]}:x=0:y=0:exact=1")
        graph.link_nodes(*self._chain, graph.add("buffersink"))
        graph.configure()

    def shown(self, frame: VideoFrame, crop: Crop) -> VideoFrame:
        """What the crop shows of the frame."""
        horizontal, vertical = fit_crop(crop, self._frame, self._out, self._overhang)
        left, top = horizontal.start + self._overhang[0], vertical.start + self._overhang[1]
        across = axis(left, horizontal.length, self._turned[0], horizontal.out)
        down = axis(top, vertical.length, self._turned[1], vertical.out)
        _tell(self._wide, w=across.length, h=down.length, x=across.start, y=down.start)
        if self._shown != (horizontal.out, vertical.out):
            _tell(self._exact, w=2, h=2)  # a crop is refused while it is larger than what it is taken from
        _tell(self._scale, w=across.scaled, h=down.scaled)
        if self._shown != (horizontal.out, vertical.out):
            self._shown = horizontal.out, vertical.out
            _tell(self._exact, w=horizontal.out, h=vertical.out)
        _tell(self._exact, x=across.offset, y=down.offset)
        self._graph.vpush(frame)
        part = self._graph.vpull()
        if (part.width, part.height) == self._out:
            return part
        return self._laid_on_background(part, horizontal.offset, vertical.offset)

    def _laid_on_background(self, part: VideoFrame, x: int, y: int) -> VideoFrame:
        """A frame of the output's size with a smaller one at an even place."""
        whole = VideoFrame(*self._out, PIXEL_FORMAT)
        for target, source, sample, step in zip(
            planes(whole), planes(part), self._background, (1, 2, 2), strict=True
        ):
            target[:] = sample
            rows, columns = source.shape
            target[y // step : y // step + rows, x // step : x // step + columns] = source
        return whole

    def _added(self, name: str, arguments: str) -> FilterContext:
        self._chain.append(self._graph.add(name, arguments))
        return self._chain[-1]


def _buffer(width: int, height: int) -> str:
    size = f"video_size={width}x{height}:pix_fmt={PIXEL_FORMAT}"
    return f"{size}:time_base=1/1000000:pixel_aspect=1/1:colorspace=bt709:range=tv"


def _tell(context: FilterContext, **values: int) -> None:
    for name, value in values.items():
        context.process_command(name, str(value))
