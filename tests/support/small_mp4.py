"""Small videos with content of one's choice, as outputs of runs that nobody runs."""

import io
from functools import cache

import av
import numpy as np

WIDTH, HEIGHT, SECONDS = 640, 360, 1.5
_RATE = 10


@cache
def _video() -> bytes:
    """A video as `tests.support.fakes.OUTPUT` describes it."""
    file = io.BytesIO()
    with av.open(file, "w", "mp4") as container:
        stream = container.add_stream("libx264", rate=_RATE, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        picture = av.VideoFrame.from_ndarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8), "rgb24")
        for number in range(int(SECONDS * _RATE)):
            picture.pts = number
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return file.getvalue()


def make_video(content: bytes) -> bytes:
    """The video, with this content in a box that players pass over."""
    return _video() + (8 + len(content)).to_bytes(4, "big") + b"free" + content
