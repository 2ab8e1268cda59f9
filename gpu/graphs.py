"""FFmpeg filter graphs, strung together and emptied."""

from collections.abc import Iterator

from av.error import BlockingIOError as NothingYet
from av.error import EOFError as Ended
from av.filter import Graph
from av.video.frame import VideoFrame


def linked(buffer: str, *filters: tuple[str, str]) -> Graph:
    """A chain of video filters behind a source with the given arguments, configured."""
    graph = Graph()
    chain = [graph.add("buffer", buffer)]
    chain += [graph.add(name, arguments or None) for name, arguments in filters]
    graph.link_nodes(*chain, graph.add("buffersink"))
    graph.configure()
    return graph


def pulled(graph: Graph) -> Iterator[VideoFrame]:
    """Every frame that a video graph has ready."""
    while True:
        try:
            frame = graph.vpull()
        except (NothingYet, Ended):
            return
        yield frame
