"""Export overlays on an even grey, and measure the result."""

from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from numpy.typing import NDArray

from gpu.pipeline import run
from tests.gpu.run_pipeline import attempt_spec, run_to_end
from tests.support.videos import Luma, Video, frame_times, read_lumas, write_video

GREY = 120
WIDTH, HEIGHT = 320, 180
Rgb = NDArray[np.uint8]


def grey_source(folder: Path) -> Path:
    """Write a second of even grey."""
    return write_video(
        folder / "source.mp4", Video(lambda _: np.full((HEIGHT, WIDTH), GREY, np.uint8), frame_times(1.0))
    )


def export_overlay(source: Path, **config: Any) -> Path:
    output = source.with_name("output.mp4")
    fields = {"quality": "high", "overlay_settings": {}} | config
    fields["overlay_settings"] = {"stroke_width": 0, "fade": 0} | fields["overlay_settings"]
    run_to_end(run(attempt_spec(source, output, kind="overlay", **fields), source.with_name("scratch")))
    return output


def key(time: float = 0.0, x: float = 160, y: float = 90, rx: float = 40, ry: float = 30, **look: Any) -> Any:
    return {"time": time, "x": x, "y": y, "radiusX": rx, "radiusY": ry, **look}


def region(*keys: Any, start: float = 0.0, end: float = 1.0, **more: Any) -> Any:
    return {"start_time": start, "end_time": end, "keyframes": list(keys) or [key()], **more}


def at(path: Path, time: float) -> Luma:
    return next(luma for when, luma in read_lumas(path) if abs(when - time) < 1e-3)


def rgb_at(path: Path, time: float) -> Rgb:
    with av.open(str(path)) as container:
        frames = (frame for frame in container.decode(video=0) if abs(frame.time - time) < 1e-3)
        return cast(Rgb, next(frames).to_ndarray(format="rgb24", src_colorspace=1, dst_colorspace=1))


def ellipse(luma: Luma, dimmed: float) -> tuple[float, float, float, float]:
    """Return centre and radii of the area that is not dimmed: the variance of an ellipse is a quarter of r²."""
    mass = np.clip((luma.astype(np.float64) - dimmed) / (GREY - dimmed), 0, 1)
    mass[mass < 0.2] = 0
    down, across = np.mgrid[0 : luma.shape[0], 0 : luma.shape[1]] + 0.5
    x, y = (across * mass).sum() / mass.sum(), (down * mass).sum() / mass.sum()
    spread = ((across - x) ** 2 * mass).sum() / mass.sum(), ((down - y) ** 2 * mass).sum() / mass.sum()
    return x, y, 2 * spread[0] ** 0.5, 2 * spread[1] ** 0.5


def under_black(luma: float, opacity: float) -> float:
    return 16 + (luma - 16) * (1 - opacity)
