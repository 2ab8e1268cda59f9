"""Scale pictures of any size to one size, with bars of the background colour."""

from av.video.frame import VideoFrame

from gpu.config import MAX_SIDE
from gpu.media.color import BLACK, PIXEL_FORMAT
from gpu.media.filters import build_graph
from gpu.media.fit import fit_box, round_to_even

_MIN_SIDE = 16


def even_size(width: int, height: int) -> tuple[int, int]:
    """Return the nearest size of the same shape that every encoder accepts."""
    scale = min(1.0, MAX_SIDE / width, MAX_SIDE / height)
    return max(_MIN_SIDE, round_to_even(width * scale)), max(_MIN_SIDE, round_to_even(height * scale))


class Letterbox:
    """A filter from frames of one size to another; frames that have that size pass through unchanged."""

    def __init__(
        self, width: int, height: int, out_width: int, out_height: int, background: str = BLACK
    ) -> None:
        self._graph = None
        if (width, height) != (out_width, out_height):
            place = fit_box(width, height, out_width, out_height)
            self._graph = build_graph(
                f"video_size={width}x{height}:pix_fmt={PIXEL_FORMAT}:time_base=1/1000000:pixel_aspect=1/1"
                ":colorspace=bt709:range=tv",
                ("scale", f"w={place.width}:h={place.height}:flags=lanczos"),
                ("pad", f"w={out_width}:h={out_height}:x={place.x}:y={place.y}:color={background}"),
                ("format", PIXEL_FORMAT),
            )

    def fit_frame(self, frame: VideoFrame) -> VideoFrame:
        """Return the frame in the output's size."""
        if self._graph is None:
            return frame
        self._graph.vpush(frame)
        return self._graph.vpull()
