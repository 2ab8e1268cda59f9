"""FFmpeg filter graphs, strung together and emptied."""

import tempfile
from collections.abc import Iterator

from av.error import BlockingIOError as NothingYet
from av.error import EOFError as Ended
from av.filter import Graph
from av.filter.context import FilterContext
from av.video.frame import VideoFrame

OVERLAY_ON_COLOR = "lay over"
"""A step of a chain that is no filter of FFmpeg's: what is transparent shows the given colour."""
LOOKUP_TABLE = "table"
"""Another: colours are changed by the given .cube table, a text."""

Step = tuple[str, str | bytes]


def build_graph(buffer: str, *filters: Step) -> Graph:
    """A chain of video filters behind a source with the given arguments, configured."""
    graph = Graph()
    last = graph.add("buffer", buffer)
    for name, arguments in filters:
        first, behind = _added(graph, name, arguments)
        last.link_to(first)
        last = behind
    last.link_to(graph.add("buffersink"))
    graph.configure()
    return graph


def _added(graph: Graph, name: str, arguments: str | bytes) -> tuple[FilterContext, FilterContext]:
    """Add a step; return the filters where it begins and where it ends."""
    if isinstance(arguments, bytes):
        table = _add_table(graph, arguments)
        return table, table
    if name == OVERLAY_ON_COLOR:
        return _add_ground(graph, arguments)
    step = graph.add(name, arguments or None)
    return step, step


def _add_ground(graph: Graph, color: str) -> tuple[FilterContext, FilterContext]:
    """Add what lays frames of rgba over an even picture of a colour.

    The even picture is the same one painted over, so that it has its size and its time.
    """
    split = graph.add("split", "2")
    ground = graph.add("drawbox", f"color={color}@1:t=fill:replace=1")
    overlay = graph.add("overlay", "format=rgb")
    split.link_to(ground, 1, 0)
    ground.link_to(overlay, 0, 0)
    split.link_to(overlay, 0, 1)
    return split, overlay


def _add_table(graph: Graph, table: bytes) -> FilterContext:
    """Add a table, which FFmpeg reads from a file, at once."""
    with tempfile.NamedTemporaryFile(suffix=".cube") as file:
        file.write(table)
        file.flush()
        return graph.add("lut3d", file=file.name, interp="tetrahedral")


def pull_frames(graph: Graph) -> Iterator[VideoFrame]:
    """Every frame that a video graph has ready."""
    while True:
        try:
            frame = graph.vpull()
        except (NothingYet, Ended):
            return
        yield frame
