"""Small videos with chosen content, as outputs of simulated runs."""

import io
from functools import cache

import av
import numpy as np

WIDTH, HEIGHT, SECONDS = 640, 360, 1.5
_FRAME_RATE = 10


@cache
def _encode_video() -> bytes:
    """Encode the video that `tests.support.fakes.OUTPUT` describes."""
    file = io.BytesIO()
    with av.open(file, "w", "mp4") as container:
        stream = container.add_stream("libx264", rate=_FRAME_RATE, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8), "rgb24")
        for number in range(int(SECONDS * _FRAME_RATE)):
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def make_video(content: bytes) -> bytes:
    """Return a video with this content in a `free` box, which players skip."""
    return _encode_video() + (8 + len(content)).to_bytes(4, "big") + b"free" + content
