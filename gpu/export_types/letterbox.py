"""One size for pictures of any: scaled to fit, with the background where they don't reach."""

from av.video.frame import VideoFrame

from gpu.media.color import BLACK, PIXEL_FORMAT
from gpu.media.filters import linked
from gpu.media.fit import box, even
from gpu.spec import MAX_SIDE

_SMALLEST_SIDE = 16


def even_size(width: int, height: int) -> tuple[int, int]:
    """The size nearest to this, in the same shape, that every encoder takes."""
    scale = min(1.0, MAX_SIDE / width, MAX_SIDE / height)
    return max(_SMALLEST_SIDE, even(width * scale)), max(_SMALLEST_SIDE, even(height * scale))


class Letterbox:
    """Frames of one size in, of another out; those that have it already pass untouched."""

    def __init__(
        self, width: int, height: int, out_width: int, out_height: int, background: str = BLACK
    ) -> None:
        self._graph = None
        if (width, height) != (out_width, out_height):
            place = box(width, height, out_width, out_height)
            self._graph = linked(
                f"video_size={width}x{height}:pix_fmt={PIXEL_FORMAT}:time_base=1/1000000:pixel_aspect=1/1"
                ":colorspace=bt709:range=tv",
                ("scale", f"w={place.width}:h={place.height}:flags=lanczos"),
                ("pad", f"w={out_width}:h={out_height}:x={place.x}:y={place.y}:color={background}"),
                ("format", PIXEL_FORMAT),
            )

    def fitted(self, frame: VideoFrame) -> VideoFrame:
        """The frame in the output's size."""
        if self._graph is None:
            return frame
        self._graph.vpush(frame)
        return self._graph.vpull()
