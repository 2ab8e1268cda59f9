"""Convert frames to the form that every export has.

It is upright, progressive, of square pixels, yuv420p, BT.709 limited range, and of one size.
A frame that already has this form passes unchanged. Exports draw on such frames only.
"""

from collections.abc import Iterator
from fractions import Fraction
from functools import cache

from av.filter import Graph
from av.video.format import VideoFormat
from av.video.frame import VideoFrame

from gpu.media.filters import LOOKUP_TABLE, OVERLAY_ON_COLOR, build_graph, pull_frames
from gpu.media.fit import Box, fit_box
from gpu.media.frame_format import (
    BT709,
    FULL_RANGE,
    LIMITED_RANGE,
    MATRIX_NAMES,
    SQUARE_PIXELS,
    Chain,
    InputFormat,
    is_sideways,
    read_format,
    rotation_filters,
    upright_size,
)
from gpu.media.tone_map import tone_map_table

PIXEL_FORMAT = "yuv420p"
_PRECISE = "flags=bicubic+accurate_rnd+full_chroma_int"
BLACK = "black"


class FrameConverter:
    """Convert decoded frames to the module's form, at `width` x `height` pixels.

    Pictures of another shape are fitted in with bars. Bars and transparent areas show the background colour.
    """

    def __init__(self, width: int, height: int, time_base: Fraction, background: str = BLACK) -> None:
        self._size = (width, height)
        self._time_base = time_base
        self._background = background
        self._input: InputFormat | None = None
        self._rotation: tuple[int, Chain] | None = None
        self._graph: Graph | None = None

    def push(self, frame: VideoFrame, aspect: Fraction = SQUARE_PIXELS) -> Iterator[VideoFrame]:
        """Convert a frame whose pixels have the given aspect ratio.

        Deinterlacing returns each frame one push later.
        """
        source = read_format(frame, self._rotate(frame), aspect)
        if source != self._input:
            yield from self.flush()
            self._input, self._graph = source, self._build_graph(source)
        if self._graph is None:
            yield frame
            return
        frame.colorspace = source.matrix
        frame.color_range = LIMITED_RANGE if source.limited else FULL_RANGE
        self._graph.push(frame)
        yield from pull_frames(self._graph)

    def flush(self) -> Iterator[VideoFrame]:
        """Yield the frames still in the graph, at the end or where the input format changes."""
        if self._graph is not None:
            self._graph.push(None)
            yield from pull_frames(self._graph)
            self._graph = None

    def _rotate(self, frame: VideoFrame) -> Chain:
        """Return the frame's rotation filters.

        The display matrix is read only when the angle changes. Reading side data makes a reference cycle with the
        frame, which keeps its memory until the next collection.
        """
        if self._rotation is None or self._rotation[0] != frame.rotation:
            self._rotation = frame.rotation, rotation_filters(frame)
        return self._rotation[1]

    def _build_graph(self, source: InputFormat) -> Graph | None:
        chain = _conversion_chain(source, *self._size, self._background)
        return build_graph(_buffer_arguments(source, self._time_base), *chain) if chain else None


def is_output_ready(frame: VideoFrame, width: int, height: int) -> bool:
    """Return whether a frame already has an output's form and size, and is tagged so.

    Colour properties that are not tagged would be a guess, so such a frame is not ready.
    """
    tags = {frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range}
    source = read_format(frame, rotation_filters(frame), SQUARE_PIXELS)
    return tags == {BT709} and not _conversion_chain(source, width, height, BLACK)


def _conversion_chain(source: InputFormat, width: int, height: int, background: str) -> Chain:
    """Return the filters that a frame needs, in order; none if it is already converted."""
    chain: Chain = (("bwdif", "mode=send_frame:deint=interlaced"),) if source.interlaced else ()
    chain += source.rotation
    display = upright_size(source.width, source.height, source.aspect, source.rotation)
    box = Box(0, 0, width, height) if display == (width, height) else fit_box(*display, width, height)
    coded_size = (
        (source.height, source.width) if is_sideways(source.rotation) else (source.width, source.height)
    )
    is_converted = (
        source.pixel_format == PIXEL_FORMAT
        and source.matrix == BT709
        and source.limited
        and not source.wide_gamut
    )
    if has_alpha(source.pixel_format):
        chain += (("scale", f"{_PRECISE}:out_range=pc"), ("format", "rgba"), (OVERLAY_ON_COLOR, background))
    if coded_size != (box.width, box.height) or not is_converted:
        chain += _conversion_filters(source, f"w={box.width}:h={box.height}")
    return (
        chain
        if (box.width, box.height) == (width, height)
        else (*chain, *_pad_filters(box, width, height, background))
    )


def _pad_filters(box: Box, width: int, height: int, background: str) -> Chain:
    """Return the filters that put bars around a picture.

    FFmpeg's `pad` makes even sides only, so an odd size is cropped from the next even one.
    """
    even_size = f"w={width + width % 2}:h={height + height % 2}"
    bars: Chain = (("pad", f"{even_size}:x={box.x}:y={box.y}:color={background}"),)
    if width % 2 or height % 2:
        bars += (("crop", f"w={width}:h={height}:x=0:y=0:exact=1"),)
    return (*bars, ("setsar", "1"))


def _conversion_filters(source: InputFormat, size: str) -> Chain:
    """Return the filters that scale a picture and convert its pixel format and colours."""
    to_output = f"{_PRECISE}:out_color_matrix=bt709:out_range=tv"
    tail: Chain = (("format", PIXEL_FORMAT), ("setsar", "1"))
    if not source.hdr:
        gamut = ":out_primaries=bt709:out_transfer=bt709" if source.wide_gamut else ""
        return (("scale", f"{size}:{to_output}{gamut}"), *tail)
    return (
        ("scale", f"{size}:{_PRECISE}:out_range=pc"),
        ("format", "gbrp10le"),
        (LOOKUP_TABLE, tone_map_table(source.transfer, source.primaries)),
        ("setparams", "color_primaries=bt709:color_trc=bt709:colorspace=gbr:range=pc"),
        ("scale", to_output),
        *tail,
    )


@cache
def has_alpha(pixel_format: str) -> bool:
    """Return whether pixels of a format may be transparent."""
    video_format = VideoFormat(pixel_format)
    return video_format.has_palette or any(component.is_alpha for component in video_format.components)


def _buffer_arguments(source: InputFormat, time_base: Fraction) -> str:
    return (
        f"video_size={source.width}x{source.height}:pix_fmt={source.pixel_format}:time_base={time_base}:pixel_aspect=1/1"
        f":colorspace={MATRIX_NAMES[source.matrix]}:range={'tv' if source.limited else 'pc'}"
    )
