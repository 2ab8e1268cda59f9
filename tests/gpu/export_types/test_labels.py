"""Labels: time, position and legibility, and no other changes to the picture."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from av.video.frame import VideoFrame

from gpu.export_types.annotate import Clip
from gpu.export_types.labels import BADGES, draw_label
from gpu.media.planes import view_planes
from tests.gpu.export_types.clip_sources import annotate, clip, grey
from tests.support.videos import BLACK, WHITE, Luma, Video, frame_times, read_lumas, write_video

WORDY = "The left back overlaps and the winger cuts inside; the late run goes free. " * 8
WIDTH, HEIGHT = 640, 360


def ground(luma: int, width: int = WIDTH, height: int = HEIGHT) -> VideoFrame:
    """Return a grey frame."""
    frame = VideoFrame(width, height, "yuv420p")
    for plane, value in zip(view_planes(frame), (luma, 128, 128), strict=True):
        plane[:] = value
    return frame


def draw_on(frame: VideoFrame, **fields: Any) -> VideoFrame:
    """Return the frame with a clip's label on it."""
    panel = draw_label(Clip.model_validate(clip(0, 1, **fields)), frame.width, frame.height)
    assert panel is not None
    return panel.over(frame)


def find_changes(before: VideoFrame, after: VideoFrame) -> tuple[slice, slice]:
    """Return the rows and columns within which samples differ, in pixels of the luma."""
    differs = view_planes(before)[0] != view_planes(after)[0]
    for number in (1, 2):
        differs |= (view_planes(before)[number] != view_planes(after)[number]).repeat(2, 0).repeat(2, 1)
    down, across = np.nonzero(differs)
    return slice(int(down.min()), int(down.max()) + 1), slice(int(across.min()), int(across.max()) + 1)


@pytest.mark.parametrize("luma", [BLACK, 128, WHITE], ids=["on black", "on grey", "on white"])
@pytest.mark.parametrize(
    "fields",
    [
        {"name": "Pass"},
        {"name": "Übergang à Łódź", "notes": WORDY, "rating": 1, "tags": ["press", "wing"]},
        {"name": "東京の試合", "notes": "右サイドからのクロス", "rating": 4},
        {"name": "مباراة", "rating": 5},
    ],
    ids=["name alone", "everything", "Japanese", "Arabic"],
)
def test_text_stands_out_on_any_footage(fields: dict[str, Any], luma: int) -> None:
    before = ground(luma)
    after = draw_on(before, **fields)
    rows, columns = find_changes(before, after)
    panel = view_planes(after)[0][rows, columns]
    inside = panel[4:-4, 4:-4]
    assert np.median(inside) <= 75
    assert (inside > 200).mean() > 0.01


@pytest.mark.parametrize(("rating", "color"), [(rating, color) for rating, (_, color) in BADGES.items()])
def test_each_rating_has_its_colour(rating: int, color: str) -> None:
    after = draw_on(ground(BLACK, 1_280, 720), name="Pass", rating=rating)
    pixels = after.to_ndarray(format="rgb24", src_colorspace="itu709", src_color_range="MPEG").astype(int)
    wanted = np.array(list(bytes.fromhex(color[1:])))
    assert (np.abs(pixels - wanted).max(axis=2) <= 6).sum() > 500


def test_ratings_are_written_as_chess_players_do() -> None:
    assert [signs for signs, _ in BADGES.values()] == ["??", "?", "!?", "!", "!!"]
    assert list(BADGES) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("width", "height"), [(1_920, 1_080), (1_080, 1_920), (640, 360), (320, 180), (120, 90), (2_560, 640)]
)
def test_a_label_stays_in_its_corner_however_much_it_says(width: int, height: int) -> None:
    before = ground(128, width, height)
    after = draw_on(before, name="Name " * 40, notes=WORDY * 3, rating=3, tags=["tag"] * 50)
    rows, columns = find_changes(before, after)
    assert rows.start > height * 0.3
    assert rows.stop <= height - 2
    assert columns.start >= 2
    assert columns.stop <= width - 2


@pytest.mark.parametrize(("width", "height"), [(16, 16), (16, 2_000), (40, 24)])
def test_no_picture_is_too_small(width: int, height: int) -> None:
    panel = draw_label(Clip.model_validate(clip(0, 1, "Name", notes=WORDY, rating=1)), width, height)
    if panel is not None:
        assert panel.over(ground(128, width, height)).width == width


def test_the_decoders_own_frame_is_left_alone() -> None:
    frame = ground(128)
    draw_on(frame, name="Pass", rating=1)
    assert {int(value) for value in np.unique(view_planes(frame)[0])} == {128}


@pytest.mark.parametrize("fields", [{"name": ""}, {"name": "  ", "notes": "\n", "tags": [" "]}])
def test_a_clip_that_says_nothing_has_no_label(fields: dict[str, Any]) -> None:
    assert draw_label(Clip.model_validate(clip(0, 1, **fields)), WIDTH, HEIGHT) is None


@pytest.mark.parametrize(
    "fields", [{"name": "", "rating": 2}, {"name": "", "notes": "Only notes"}, {"name": "", "tags": ["tag"]}]
)
def test_any_one_thing_makes_a_label(fields: dict[str, Any]) -> None:
    before = ground(128)
    assert find_changes(before, draw_on(before, **fields))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of grey."""
    video = Video(draw=lambda _: grey(150, width=WIDTH, height=HEIGHT), times=frame_times(2))
    return write_video(tmp_path_factory.mktemp("labels") / "grey.mp4", video)


def export_clips(source: Path, folder: Path, **fields: Any) -> list[tuple[float, Luma]]:
    """Export two clips, of which only the first has label text, and return the frames."""
    folder.mkdir()
    clips = [clip(0, 1, "Name", notes="Notes", rating=5), clip(1, 2)]
    output_path, _ = annotate({"coded": source}, folder, clips, quality="high", **fields)
    return read_lumas(output_path)


def test_a_label_is_shown_for_its_clip_and_changes_nothing_else(source: Path, tmp_path: Path) -> None:
    rows, columns = find_changes(before := ground(150), draw_on(before, name="Name", notes="Notes", rating=5))
    plain = export_clips(source, tmp_path / "plain", show_labels=False)
    with_label = export_clips(source, tmp_path / "labelled", show_labels=True)
    assert len(plain) == len(with_label) == 60
    for (time, without), (_, luma) in zip(plain, with_label, strict=True):
        difference = np.abs(luma.astype(int) - without)
        inside = difference[rows, columns].mean()
        difference[rows, columns] = 0
        assert difference.max() <= 8  # the encoder's, along the panel's edges
        assert (inside > 60) == (time < 1 - 1e-3)


def test_a_label_fades_with_its_picture(source: Path, tmp_path: Path) -> None:
    transition = {"type": "fade", "duration": 0.4}
    frames = export_clips(source, tmp_path / "faded", show_labels=True, transition=transition)
    assert frames[30][1].max() <= BLACK + 3
    assert frames[15][1].max() > 220


def test_in_a_dissolve_one_label_goes_before_the_other_comes(source: Path, tmp_path: Path) -> None:
    clips = [clip(0, 1, "Leaving", rating=1), clip(1, 2, "Coming", rating=5)]
    transition = {"type": "dissolve", "duration": 0.5}
    output_path, _ = annotate(
        {"coded": source}, tmp_path, clips, quality="high", show_labels=True, transition=transition
    )
    spread = [int(luma.max()) - int(luma.min()) for _, luma in read_lumas(output_path)]
    assert min(spread) == min(spread[21:24]) <= 12
    assert spread[14] > 100
    assert spread[30] > 100
