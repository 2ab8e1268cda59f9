"""Build FFmpeg filter graphs and pull their frames."""

import tempfile
from collections.abc import Iterator

from av.error import BlockingIOError as FrameNotReady
from av.error import EOFError as EndOfStream
from av.filter import Graph
from av.filter.context import FilterContext
from av.video.frame import VideoFrame

OVERLAY_ON_COLOR = "lay over"
"""A step that is not an FFmpeg filter: transparent areas show the given colour."""
LOOKUP_TABLE = "table"
"""A step whose argument is a .cube table as text: colours are converted by it."""

Step = tuple[str, str | bytes]


def build_graph(buffer: str, *filters: Step) -> Graph:
    """Build and configure a chain of video filters; `buffer` describes its input frames."""
    graph = Graph()
    last = graph.add("buffer", buffer)
    for name, arguments in filters:
        first, next_last = _add_step(graph, name, arguments)
        last.link_to(first)
        last = next_last
    last.link_to(graph.add("buffersink"))
    graph.configure()
    return graph


def _add_step(graph: Graph, name: str, arguments: str | bytes) -> tuple[FilterContext, FilterContext]:
    """Add a step; return its first and its last filter."""
    if isinstance(arguments, bytes):
        table = _add_table(graph, arguments)
        return table, table
    if name == OVERLAY_ON_COLOR:
        return _add_background(graph, arguments)
    step = graph.add(name, arguments or None)
    return step, step


def _add_background(graph: Graph, color: str) -> tuple[FilterContext, FilterContext]:
    """Add filters that blend rgba frames over a solid colour.

    The background is a copy of the frame filled with the colour, so that it has the frame's size and time.
    """
    split = graph.add("split", "2")
    background = graph.add("drawbox", f"color={color}@1:t=fill:replace=1")
    overlay = graph.add("overlay", "format=rgb")
    split.link_to(background, 1, 0)
    background.link_to(overlay, 0, 0)
    split.link_to(overlay, 0, 1)
    return split, overlay


def _add_table(graph: Graph, table: bytes) -> FilterContext:
    """Add a colour table; FFmpeg reads its file immediately, so the file may go afterwards."""
    with tempfile.NamedTemporaryFile(suffix=".cube") as file:
        file.write(table)
        file.flush()
        return graph.add("lut3d", file=file.name, interp="tetrahedral")


def pull_frames(graph: Graph) -> Iterator[VideoFrame]:
    """Yield every frame that a video graph has ready."""
    while True:
        try:
            frame = graph.vpull()
        except (FrameNotReady, EndOfStream):
            return
        yield frame
