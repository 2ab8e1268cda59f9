"""`make contact-sheets`: show each export as two rows of frames, source above and result below.

Writes `framing.png`, `overlay.png` and `annotate.png` to `service/docs/images` from a match drawn for it.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
from PIL import Image, ImageDraw

from tests.bench.video import footage
from tests.bench.video.workloads import spec

SECONDS, SCALE = 9.0, 2 / 3
WIDTH, HEIGHT = round(footage.WIDTH * SCALE), round(footage.HEIGHT * SCALE)
SHEET_WIDTH, GAP, MARGIN, LABEL = 1_200, 6, 16, 24
PAPER, INK, QUIET = (255, 255, 255), (28, 32, 38), (110, 118, 128)
MOST_BYTES = 200_000  # small enough for a page that shows three
STAR = footage.PLAYERS[0]


@dataclass(frozen=True)
class Sheet:
    """An export to show, and the source's time for each moment of it."""

    kind: str
    title: str
    config: dict[str, Any]
    moments: tuple[float, ...]
    source_time: Callable[[float], float] = lambda time: time


def framing() -> Sheet:
    """Return a portrait export that follows the ball."""
    height = HEIGHT * 0.8
    width = height * 9 / 16
    keyframes = []
    for time in _sample_times(0, SECONDS):
        x, y = _feet(time)
        keyframes.append(
            {"time": time, "x": x - width / 2, "y": y - height * 0.62, "width": width, "height": height}
        )
    config = {"keyframes": keyframes, "output_width": 720, "output_height": 1280}
    return Sheet(
        "framing", "framing: a portrait crop follows number 10", config, (0.3, 2.0, 3.7, 5.3, 7.0, 8.7)
    )


def overlay() -> Sheet:
    """Return an export with a highlight on number 10 and a line of text."""
    keyframes = []
    for time in _sample_times(1, 7):
        x, y = _feet(time)
        tall = STAR.height(time) * SCALE
        keyframes.append(
            {"time": time, "x": x, "y": y - tall / 2, "radiusX": tall * 0.45, "radiusY": tall * 0.72}
        )
    config = {
        "highlight_regions": [{"start_time": 1, "end_time": 7, "color": "#ffd23f", "keyframes": keyframes}],
        "overlay_settings": {"dim_strength": 0.45, "stroke_width": 5},
        "text_layers": [
            {"text": "Number 10 on the run", "start_time": 2, "end_time": 6, "x": 48, "y": 610, "size": 56}
        ],
    }
    return Sheet(
        "overlay", "overlay: a highlight on number 10 from 1 s to 7 s, and text", config, (0.5, 2.0, 4.0, 6.5)
    )


CLIPS = (
    {
        "start_time": 0.5,
        "end_time": 2.5,
        "name": "Finds the space",
        "rating": 4,
        "notes": "Drops between the lines.",
    },
    {
        "start_time": 4.0,
        "end_time": 6.0,
        "name": "Pérdida",
        "rating": 2,
        "notes": "Pass too late: 早く出す。",
    },
    {"start_time": 6.5, "end_time": 8.5, "name": "Through ball", "rating": 5, "notes": "Sees the run early."},
)


def annotate() -> Sheet:
    """Return an export of three labelled clips."""

    def source_time(time: float) -> float:
        clip = CLIPS[min(int(time // 2), len(CLIPS) - 1)]
        return float(str(clip["start_time"])) + time % 2

    config = {"clips": list(CLIPS), "transition": {"type": "cut"}}
    title = "annotate: three clips, rated and labelled, joined"
    return Sheet("annotate", title, config, (1.0, 3.0, 5.0), source_time)


def _sample_times(start: float, end: float) -> list[float]:
    """Return four times a second."""
    return [start + number / 4 for number in range(round((end - start) * 4) + 1)]


def _feet(time: float) -> tuple[float, float]:
    x, y = STAR.at(time)
    return x * SCALE, y * SCALE


def render_sheet(sheet: Sheet, film: Path, folder: Path) -> Image.Image:
    """Run the export and lay its frames out."""
    result = folder / f"{sheet.kind}.mp4"
    attempt_spec = spec(sheet.kind, {"input_key": "film", "quality": "high"} | sheet.config, film, result)
    subprocess.run(
        [sys.executable, "-m", "gpu", "-"], input=attempt_spec, text=True, check=True, capture_output=True
    )
    above = list(read_stills(film, [sheet.source_time(time) for time in sheet.moments]))
    below = list(read_stills(result, sheet.moments))
    return lay_out(sheet, above, below)


def read_stills(film: Path, times: Sequence[float]) -> Iterator[Image.Image]:
    """Yield the frame on screen at each of the rising times."""
    with av.open(str(film)) as container:
        frames = container.decode(video=0)
        current = next(frames)
        upcoming = next(frames, None)
        for time in times:
            while upcoming is not None and upcoming.time <= time + 1e-6:
                current, upcoming = upcoming, next(frames, None)
            yield Image.fromarray(current.to_ndarray(format="rgb24"))


def lay_out(sheet: Sheet, above: Sequence[Image.Image], below: Sequence[Image.Image]) -> Image.Image:
    """Return a title, times, a row of the source's frames and a row of the result's."""
    across = (SHEET_WIDTH - 2 * MARGIN - GAP * (len(above) - 1)) // len(above)
    rows = [[_fit(still, across) for still in row] for row in (above, below)]
    tops = [MARGIN + 2 * LABEL, MARGIN + 3 * LABEL + rows[0][0].height]
    page = Image.new("RGB", (SHEET_WIDTH, tops[1] + rows[1][0].height + MARGIN), PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((MARGIN, MARGIN - 4), sheet.title, fill=INK, font_size=18)
    for column, moment in enumerate(sheet.moments):
        left = MARGIN + column * (across + GAP)
        for row, top, time in zip(rows, tops, (sheet.source_time(moment), moment), strict=True):
            name = "source" if row is rows[0] else "result"
            draw.text((left, top - LABEL + 4), f"{name} {time:.1f} s", fill=QUIET, font_size=13)
            page.paste(row[column], (left + (across - row[column].width) // 2, top))
    return page


def _fit(still: Image.Image, width: int) -> Image.Image:
    return still.resize((width, round(still.height * width / still.width)), Image.Resampling.LANCZOS)


def main() -> None:
    """Write all sheets."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.contact_sheets", description="Show what exports do."
    )
    parser.add_argument("--folder", type=Path, default=Path("service/docs/images"))
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        film = footage.make_film(Path(name) / "film.mp4", SECONDS, SCALE)
        for sheet in (framing(), overlay(), annotate()):
            path = folder / f"{sheet.kind}.png"
            page = render_sheet(sheet, film, Path(name))
            # Few colours, spread over all hues: the median cut would spend them on the grain of the grass.
            few = page.quantize(method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
            few.save(path, optimize=True)
            size = path.stat().st_size
            print(f"{path}  {page.width} x {page.height}, {size // 1000} kB")
            if size > MOST_BYTES:
                sys.exit(f"{path} is larger than {MOST_BYTES // 1000} kB")


if __name__ == "__main__":
    main()
