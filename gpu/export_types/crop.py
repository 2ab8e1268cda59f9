"""The frames of a framing: the moving crop of a source as a filter graph.

The edges of the crop are at fractions of pixels, and FFmpeg's crop filter takes whole ones. So the frame is cropped a
little wider, scaled by the exact factor, and cropped again among the finer pixels of the output: a slow pan is smooth.

Nothing is distorted: a crop of another shape than the output is fitted into it, and the background fills the part of
the crop that is outside the picture.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from av.filter import Graph
from av.filter.context import FilterContext
from av.video.frame import VideoFrame

from gpu.draw.compositing import background_yuv
from gpu.errors import ExportError
from gpu.export_types.framing import CropKeyframe, FramingConfig, output_size
from gpu.export_types.keyframes import Spline, Values
from gpu.export_types.rotation import Size, find_overhang, limit_start
from gpu.media import timeline
from gpu.media.audio import read_audio
from gpu.media.color import PIXEL_FORMAT
from gpu.media.decode import Pictures, decode_frames
from gpu.media.encode import Render
from gpu.media.fit import round_to_even
from gpu.media.planes import view_planes
from gpu.sources.source import Source

# Lanczos reads this many pixels beyond the edge of the crop, so that the edge shows the picture and no repeated border.
_MARGIN = 2
_SMALLEST_CROP = 2.0
# Clients round crops to whole pixels: one of nearly the shape of the output is meant to have it.
_SHAPE_TOLERANCE = 1.02


@dataclass(frozen=True)
class Crop:
    """A rectangle of the source, in pixels with fractions; `x`, `y` is its top left corner."""

    x: float
    y: float
    width: float
    height: float


def plan_crop(config: FramingConfig, source: Source) -> Render:
    """Plan the video of a framing. Raises ExportError: crop_outside_source, clip_outside_source."""
    _check_inside(config.keyframes, source)
    start, end = timeline.resolve_trim(source.export_start, source.duration, config.trim)
    cut = timeline.split_by_speed(start, end, config.segments)
    clock = timeline.select_clock(config.fps, source.rate, source.variable, cut)
    seconds = timeline.compute_output_seconds(cut, clock)
    width, height = output_size(config)
    return Render(
        width=width,
        height=height,
        clock=clock,
        seconds=seconds,
        open_pictures=lambda ticks: _frame_pictures(
            decode_frames(source, cut, clock, ticks), config, source, (width, height)
        ),
        audio=read_audio(source, cut, seconds) if config.include_audio and source.audio is not None else None,
    )


def _check_inside(keyframes: Sequence[CropKeyframe], source: Source) -> None:
    for number, keyframe in enumerate(keyframes):
        is_left_or_right = keyframe.x >= source.width or keyframe.x + keyframe.width <= 0
        if is_left_or_right or keyframe.y >= source.height or keyframe.y + keyframe.height <= 0:
            raise ExportError(
                "crop_outside_source",
                f"The crop at {keyframe.time:.2f} s is outside the picture of {source.width} x {source.height}.",
                loc=("keyframes", number),
            )


def crop_path(keyframes: Sequence[CropKeyframe]) -> Spline:
    """Return the spline of x, y, width and height over the time of the source."""
    return Spline(
        [keyframe.time for keyframe in keyframes],
        [(keyframe.x, keyframe.y, keyframe.width, keyframe.height) for keyframe in keyframes],
    )


def clamp_crop(values: Values, frame: Size, overhang: Size) -> Crop:
    """Move a crop (x, y, width, height) into the picture, or around it if it is larger."""
    x, y, width, height = values
    width, height = max(width, _SMALLEST_CROP), max(height, _SMALLEST_CROP)
    x, y = limit_start(x, width, frame[0], overhang[0]), limit_start(y, height, frame[1], overhang[1])
    return Crop(x, y, width, height)


def _frame_pictures(decoded: Pictures, config: FramingConfig, source: Source, size: Size) -> Pictures:
    path = crop_path(config.keyframes)
    frame = source.width, source.height
    overhang = find_overhang(config.keyframes, frame, config.rotation)
    crop_filter = CropFilter(frame, size, overhang, rotation=config.rotation, background=source.background)
    try:
        for picture in decoded:
            crop = clamp_crop(path.at(picture.time), frame, overhang)
            yield replace(picture, frame=crop_filter.crop_frame(picture.frame, crop))
    finally:
        decoded.close()


@dataclass(frozen=True)
class Axis:
    """One axis of a crop in whole pixels: take `length` from `start`, scale to `scaled`, keep `out` from `offset`."""

    start: int
    length: int
    scaled: int
    offset: int


def fit_axis(start: float, length: float, frame: int, out: int) -> Axis:
    """Return how to show `length` from `start` of a frame's side as `out` pixels, to a fraction of a pixel."""
    taken = min(frame, 2 * math.ceil(length / 2) + 2 * _MARGIN)
    begin = max(0, min(2 * math.floor(start / 2) - _MARGIN, frame - taken))
    scaled = max(out, round(taken * out / length))
    centre = (start + length / 2 - begin) * scaled / taken
    return Axis(begin, taken, scaled, min(max(0, round(centre - out / 2)), scaled - out))


@dataclass(frozen=True)
class Extent:
    """The visible part of a crop along one axis: `length` of the frame from `start`, as `out` pixels from `offset`."""

    start: float
    length: float
    out: int
    offset: int


def fit_crop(crop: Crop, frame: Size, out: Size, overhang: Size = (0, 0)) -> tuple[Extent, Extent]:
    """Fit a crop into the output at the largest scale; the part outside the picture is not shown."""
    scale = min(out[0] / crop.width, out[1] / crop.height)
    across = _fit_extent(crop.x, crop.width, frame[0], overhang[0], out[0], scale)
    return across, _fit_extent(crop.y, crop.height, frame[1], overhang[1], out[1], scale)


def _fit_extent(start: float, length: float, frame: int, overhang: int, out: int, scale: float) -> Extent:
    """Fit one axis; a crop of nearly the shape of the output is widened to exactly that shape."""
    filling = out / scale
    if filling <= length * _SHAPE_TOLERANCE:
        start, length = limit_start(start - (filling - length) / 2, filling, frame, overhang), filling
    begin, end = max(-float(overhang), start), min(float(frame + overhang), start + length)
    visible = min(out, max(2, round_to_even((end - begin) * scale)))
    offset = round_to_even((out - length * scale) / 2 + (begin - start) * scale)
    return Extent(begin, end - begin, visible, min(max(0, offset), out - visible))


class CropFilter:
    """The filter graph of a moving crop: takes frames of the source, returns frames of the output's size."""

    def __init__(self, frame: Size, out: Size, overhang: Size, *, rotation: float, background: str) -> None:
        self._frame, self._overhang = frame, overhang
        self._out = self._visible = out
        width, height = self._rotated = frame[0] + 2 * overhang[0], frame[1] + 2 * overhang[1]
        self._background = background_yuv(background)
        self._graph = graph = Graph()
        self._chain = [graph.add("buffer", _buffer_arguments(*frame))]
        if rotation:
            arguments = f"a={math.radians(rotation):.9f}:ow={width}:oh={height}:fillcolor={background}"
            self._chain.append(graph.add("rotate", arguments))
        self._wide = self._add_filter("crop", f"w={width}:h={height}:x=0:y=0:exact=1")
        self._scale = self._add_filter("scale", f"w={out[0]}:h={out[1]}:flags=lanczos")
        self._exact = self._add_filter("crop", f"w={out[0]}:h={out[1]}:x=0:y=0:exact=1")
        graph.link_nodes(*self._chain, graph.add("buffersink"))
        graph.configure()

    def crop_frame(self, frame: VideoFrame, crop: Crop) -> VideoFrame:
        """Return the crop of a frame in the output's size, on the background where it is outside the frame."""
        horizontal, vertical = fit_crop(crop, self._frame, self._out, self._overhang)
        left, top = horizontal.start + self._overhang[0], vertical.start + self._overhang[1]
        across = fit_axis(left, horizontal.length, self._rotated[0], horizontal.out)
        down = fit_axis(top, vertical.length, self._rotated[1], vertical.out)
        _send_command(self._wide, w=across.length, h=down.length, x=across.start, y=down.start)
        if self._visible != (horizontal.out, vertical.out):
            _send_command(self._exact, w=2, h=2)  # FFmpeg rejects a crop that is larger than its input
        _send_command(self._scale, w=across.scaled, h=down.scaled)
        if self._visible != (horizontal.out, vertical.out):
            self._visible = horizontal.out, vertical.out
            _send_command(self._exact, w=horizontal.out, h=vertical.out)
        _send_command(self._exact, x=across.offset, y=down.offset)
        self._graph.vpush(frame)
        part = self._graph.vpull()
        if (part.width, part.height) == self._out:
            return part
        return self._place_on_background(part, horizontal.offset, vertical.offset)

    def _place_on_background(self, part: VideoFrame, x: int, y: int) -> VideoFrame:
        """Return a frame of the output's size with a smaller one at even coordinates."""
        whole = VideoFrame(*self._out, PIXEL_FORMAT)
        for target, source, sample, step in zip(
            view_planes(whole), view_planes(part), self._background, (1, 2, 2), strict=True
        ):
            target[:] = sample
            rows, columns = source.shape
            target[y // step : y // step + rows, x // step : x // step + columns] = source
        return whole

    def _add_filter(self, name: str, arguments: str) -> FilterContext:
        self._chain.append(self._graph.add(name, arguments))
        return self._chain[-1]


def _buffer_arguments(width: int, height: int) -> str:
    size = f"video_size={width}x{height}:pix_fmt={PIXEL_FORMAT}"
    return f"{size}:time_base=1/1000000:pixel_aspect=1/1:colorspace=bt709:range=tv"


def _send_command(context: FilterContext, **values: int) -> None:
    for name, value in values.items():
        context.process_command(name, str(value))
