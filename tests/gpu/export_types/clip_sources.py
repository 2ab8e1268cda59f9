"""Sources whose pictures encode their time, exports of clips of them, and how their results are read back."""

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from callbacks.envelope import Output
from gpu.errors import ExportError
from gpu.export_types.registry import parse_config
from gpu.pipeline import run
from gpu.spec import AttemptSpec, LocalFile, Transfer
from tests.gpu.run_pipeline import run_to_end
from tests.support.videos import Luma, Video, clicks, frame_times, write_video

FRAME = 1 / 30
SECONDS = 4.0
BRIGHT = 200
CLICKS = (1.0, 2.0, 3.0)

Sources = Mapping[str, Path]


def grey(level: float, *, width: int = 320, height: int = 180) -> Luma:
    """Return a picture of one luma."""
    return np.full((height, width), round(level), np.uint8)


def source_time(luma: Luma) -> float:
    """Return the source time that a frame of the `coded` source shows, in seconds."""
    return (float(luma[8:40, 140:180].mean()) - 20) / 50


def write_sources(folder: Path) -> Sources:
    """Write three sources.

    `coded`: the luma encodes the time, a click per second. `bright`: square, 25 fps, silent. `stereo`: 24 fps,
    44.1 kHz.
    """
    coded = Video(
        draw=lambda time: grey(20 + 50 * time), times=frame_times(SECONDS), tone=clicks(SECONDS, *CLICKS)
    )
    bright = Video(
        draw=lambda _: grey(BRIGHT, width=160, height=160),
        times=frame_times(2, 25),
        rate=Fraction(25),
        pixel_format="yuv422p",
    )
    left = clicks(2, 0.5, rate=44_100)
    stereo = Video(
        draw=lambda _: grey(100, width=241, height=101),
        times=frame_times(2, 24),
        rate=Fraction(24),
        pixel_format="yuv444p",
        tone=np.stack([left, left]),
        layout="stereo",
        sound_rate=44_100,
    )
    videos = {"coded": coded, "bright": bright, "stereo": stereo}
    return {key: write_video(folder / f"{key}.mp4", video) for key, video in videos.items()}


def clip(start: float, end: float, name: str = "", **fields: Any) -> dict[str, Any]:
    """Return one entry of `clips`."""
    return {"start_time": start, "end_time": end, "name": name} | fields


def annotate(
    sources: Sources, folder: Path, clips: list[dict[str, Any]], **fields: Any
) -> tuple[Path, Output]:
    """Run an export of `coded`, by default without labels; return the path of the output and its description."""
    config = {"input_key": "coded", "quality": "draft", "show_labels": False, "clips": clips} | fields
    spec = AttemptSpec(
        job_id="job",
        attempt=1,
        call_id="call",
        type="annotate",
        config=parse_config("annotate", config),
        transfer=Transfer(
            sources={key: LocalFile(path=str(path)) for key, path in sources.items()},
            output=LocalFile(path=str(folder / "output.mp4")),
        ),
    )
    _, output = run_to_end(run(spec, folder / "scratch"))
    return folder / "output.mp4", output


def export_error(sources: Sources, folder: Path, clips: list[dict[str, Any]], **fields: Any) -> ExportError:
    """Return the error of an export, and check that it leaves no output."""
    with pytest.raises(ExportError) as caught:
        annotate(sources, folder, clips, **fields)
    assert list(folder.glob("output*")) == []
    return caught.value


def chapters(path: Path) -> list[tuple[float, float, str]]:
    """Return begin and end in seconds, and the title, of each chapter."""
    with av.open(str(path)) as container:
        return [
            (
                float(chapter["start"] * (chapter["time_base"] or 0)),
                float(chapter["end"] * (chapter["time_base"] or 0)),
                chapter["metadata"]["title"],
            )
            for chapter in container.chapters()
        ]


BACK_AND_FORTH = [clip(2.5, 3.5, "later"), clip(0.4, 1.3, "earlier"), clip(1.1, 1.9, "overlapping")]
