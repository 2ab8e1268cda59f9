"""Texts on footage: broken into lines, put in their place, legible on any ground."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from gpu.draw.text_config import TextLayer
from gpu.draw.text_layers import dilate
from gpu.pipeline import run
from tests.gpu.export_types.overlay_frames import HEIGHT, WIDTH, at, export_overlay, grey_source, rgb_at
from tests.gpu.run_pipeline import attempt_spec, run_to_end
from tests.support.videos import Luma, Video, frame_times, write_video

GROUND = 120
LONG = "A sentence that is a good deal longer than the picture is wide"


def layer(text: str, **look: Any) -> dict[str, Any]:
    return {"text": text, "start_time": 0, "end_time": 1, "x": 10, "y": 10, "size": 24, **look}


def ink(path: Path) -> tuple[int, int, int, int]:
    """Return the bounding box of what was drawn: left, top, right, bottom."""
    drawn = np.abs(at(path, 0.5).astype(int) - GROUND) > 40
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])


def even(path: Path, luma: int) -> Path:
    return write_video(path, Video(lambda _: np.full((HEIGHT, WIDTH), luma, np.uint8), frame_times(1.0)))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return grey_source(tmp_path)


@pytest.mark.parametrize("x", [0, 10, 150, 290])
@pytest.mark.parametrize("anchor", ["top-left", "top", "top-right"])
def test_a_long_text_stays_inside_the_picture(source: Path, x: int, anchor: str) -> None:
    left, top, right, bottom = ink(
        export_overlay(source, text_layers=[layer(LONG, x=x, anchor=anchor, size=14)])
    )
    assert left >= 0
    assert right < WIDTH - 1
    assert bottom < HEIGHT - 1
    assert bottom - top > 20


def test_a_text_that_begins_near_the_edge_is_moved_inside(source: Path) -> None:
    left, _, right, bottom = ink(export_overlay(source, text_layers=[layer("Goalkeeper", x=290, y=170)]))
    assert 0 < left < right < WIDTH - 1
    assert bottom <= HEIGHT - 1


def test_a_text_is_as_wide_as_it_may_be(source: Path) -> None:
    left, _, right, _ = ink(export_overlay(source, text_layers=[layer(LONG, max_width=120, size=14)]))
    assert right - left <= 124


@pytest.mark.parametrize(
    ("anchor", "across", "down"),
    [("top-left", 0, 0), ("top", 0.5, 0), ("top_right", 1, 0), ("left", 0, 0.5), ("center", 0.5, 0.5),
     ("right", 1, 0.5), ("bottom left", 0, 1), ("bottom", 0.5, 1), ("bottom-right", 1, 1)],
)  # fmt: skip
def test_each_point_of_a_text_can_be_its_place(source: Path, anchor: str, across: float, down: float) -> None:
    left, top, right, bottom = ink(
        export_overlay(source, text_layers=[layer("HHH", x=160, y=90, anchor=anchor)])
    )
    assert left + across * (right - left) == pytest.approx(160, abs=5)
    assert top + down * (bottom - top) == pytest.approx(90, abs=10)


@pytest.mark.parametrize(("align", "side"), [("left", 0), ("center", 0.5), ("right", 1)])
def test_lines_are_aligned(source: Path, align: str, side: float) -> None:
    look = layer("HHHHHH\nH", x=60, y=40, align=align, outline={"width": 0})
    shown = at(export_overlay(source, text_layers=[look]), 0.5) > 190
    spans = []
    for rows in (shown[40:72], shown[73:106]):
        columns = np.flatnonzero(rows.any(axis=0))
        spans.append(columns[0] + side * (columns[-1] - columns[0]))
    assert spans[0] == pytest.approx(spans[1], abs=3)


@pytest.mark.parametrize("color", ["#ffffff", "#000000", "#ffff00", "#207020"])
@pytest.mark.parametrize("ground", [235, 120, 16], ids=["white", "grey", "black"])
def test_text_is_legible_on_any_ground_without_being_asked(tmp_path: Path, color: str, ground: int) -> None:
    output_path = export_overlay(
        even(tmp_path / "source.mp4", ground), text_layers=[layer("HOH", size=40, color=color)]
    )
    shown = at(output_path, 0.5)[10:64, 10:120]
    assert int(shown.max()) - int(shown.min()) > 70


def test_an_outline_and_a_box_are_as_asked(source: Path) -> None:
    outline, box = {"width": 6, "color": "#0000ff"}, {"color": "#ff0000", "opacity": 0.5, "padding": 20}
    output_path = export_overlay(
        source, text_layers=[layer("I", x=100, y=60, size=60, outline=outline, box=box, color="#ffff00")]
    )
    pixels = rgb_at(output_path, 0.5).astype(int)
    red = (pixels[..., 0] > 140) & (pixels[..., 1] < 100) & (pixels[..., 2] < 110)
    blue = (pixels[..., 2] > 180) & (pixels[..., 0] < 110)
    assert red[46, 90]
    assert not red[30, 90]
    columns = np.flatnonzero(blue[100])
    assert np.ptp(columns) >= 14
    plain = export_overlay(source, text_layers=[layer("I", outline={"width": 0}, size=60)])
    assert at(plain, 0.5).min() > GROUND - 25


@pytest.mark.parametrize(
    "wrong",
    [
        {"anchor": "middle"}, {"align": "justify"}, {"max_width": 0}, {"outline": {"width": -1}},
        {"box": {"opacity": 2}}, {"outline": {"color": "#000000"}}, {"box": {"colour": "#000000"}},
    ],
    ids=str,
)  # fmt: skip
def test_a_look_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TextLayer.model_validate(layer("a", **wrong))


def test_ink_grows_by_as_much_on_every_side() -> None:
    spot = np.zeros((9, 9), np.uint8)
    spot[4, 4] = 255
    grown = dilate(spot, 3)
    assert grown.shape == (15, 15)
    down, across = np.nonzero(grown)
    distance = np.hypot(down - 7, across - 7)
    assert distance.max() < 3.6
    assert grown[7, 4] == grown[7, 10] == grown[4, 7] == grown[10, 7] == 255


@pytest.mark.parametrize("kind", ["overlay", "annotate"])
def test_what_is_left_out_of_a_text_is_said(source: Path, kind: str) -> None:
    text = "goal \U000f0000 \U000f0001 now"
    fields: dict[str, dict[str, Any]] = {
        "overlay": {"text_layers": [layer(text)]},
        "annotate": {"clips": [{"start_time": 0, "end_time": 1, "name": "a", "notes": text}]},
    }
    spec = attempt_spec(source, source.with_name("output.mp4"), kind=kind, **fields[kind])
    ticks, _ = run_to_end(run(spec, source.with_name("scratch")))
    said = "Left out of the text, because no font has it: \U000f0000 \U000f0001."
    assert all(said in tick.message for tick in ticks if tick.phase == "processing")


def test_a_tag_shows_one_sign(source: Path) -> None:
    def export_with_tag(tag: str) -> Luma:
        clips = [{"start_time": 0, "end_time": 1, "name": "", "tags": [tag]}]
        output = source.with_name("output.mp4")
        run_to_end(
            run(attempt_spec(source, output, kind="annotate", clips=clips), source.with_name("scratch"))
        )
        return at(output, 0.5)

    plain = export_with_tag("x")
    for tag in ("#x", "##x", " # x "):
        assert np.array_equal(export_with_tag(tag), plain)
    assert not np.array_equal(export_with_tag("#\ufe0f\u20e3"), export_with_tag("\u20e3"))
