"""HDR videos: highlights stay distinct, hues stay, and the rest is unchanged."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpu.pipeline import run
from tests.gpu.export_types.overlay_frames import export_overlay
from tests.gpu.media.hdr_patches import PAPER_NITS, PATCH, Light, hue, read_patches, write_patches
from tests.gpu.media.output_checks import find_violations
from tests.gpu.run_pipeline import attempt_spec, export, run_to_end

WHITE, GREY, DARK = (1.0, 1.0, 1.0), (0.18, 0.18, 0.18), (0.05, 0.05, 0.05)
COLOURS: list[Light] = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.6, 0.35, 0.25), (0.9, 0.5, 0.1)]
BRIGHT: dict[str, list[float]] = {"pq": [400, 1_000, 4_000], "hlg": [400, 600, 1_000]}
CURVES = pytest.mark.parametrize("curve", ["pq", "hlg"])
DEPTHS = pytest.mark.parametrize("pixels", ["yuv420p10le", "yuv420p"])


def whole(patches: int) -> dict[str, Any]:
    keyframe = {"time": 0, "x": 0, "y": 0, "width": PATCH * patches, "height": PATCH}
    return {"keyframes": [keyframe], "quality": "high"}


@CURVES
@DEPTHS
def test_greys_rise_from_shadow_to_glare_and_stay_grey(tmp_path: Path, curve: str, pixels: str) -> None:
    patches: list[Light] = [DARK, GREY, WHITE, *((nits / PAPER_NITS,) * 3 for nits in BRIGHT[curve])]
    output_path, _, _ = export(
        write_patches(tmp_path / "source.mkv", curve, pixels, patches), **whole(len(patches))
    )
    colors = read_patches(output_path, len(patches))
    assert all(color.max() - color.min() <= 6 for color in colors)
    levels = [float(color.mean()) for color in colors]
    assert 45 <= levels[0] <= 95
    assert 95 <= levels[1] <= 145
    assert 170 <= levels[2] <= 250
    assert all(after - before >= 2 for before, after in itertools.pairwise(levels))


@CURVES
@DEPTHS
def test_colours_keep_their_hue(tmp_path: Path, curve: str, pixels: str) -> None:
    brighter = [tuple(3 * part for part in color) for color in COLOURS[3:]]
    patches: list[Light] = [*COLOURS, *brighter]  # type: ignore[list-item]
    output_path, _, _ = export(
        write_patches(tmp_path / "source.mkv", curve, pixels, patches), **whole(len(patches))
    )
    for color, patch in zip(read_patches(output_path, len(patches)), patches, strict=True):
        expected = np.rint(255 * (np.array(patch) / max(patch)) ** (1 / 2.4)).astype(np.int64)
        assert abs((hue(color) - hue(expected) + 180) % 360 - 180) <= 6


def test_what_is_darker_than_paper_is_as_bright_as_its_light(tmp_path: Path) -> None:
    shares = [0.01, 0.05, 0.1, 0.2, 0.35]
    patches: list[Light] = [(share, share, share) for share in shares]
    output_path, _, _ = export(
        write_patches(tmp_path / "source.mkv", "pq", "yuv420p10le", patches), **whole(len(patches))
    )
    for color, share in zip(read_patches(output_path, len(patches)), shares, strict=True):
        assert float(color.mean()) == pytest.approx(255 * share ** (1 / 2.4), abs=3)


@CURVES
def test_every_type_of_export_shows_the_same(tmp_path: Path, curve: str) -> None:
    patches: list[Light] = [WHITE, GREY, *COLOURS[:3], (2, 2, 2)]
    source = write_patches(tmp_path / "source.mkv", curve, "yuv420p10le", patches)
    outputs = {"framing": export(source, **whole(len(patches)))[0].rename(tmp_path / "framing.mp4")}
    outputs["overlay"] = export_overlay(source).rename(tmp_path / "overlay.mp4")
    clips = [{"start_time": 0, "end_time": 0.3, "name": "a"}]
    spec = attempt_spec(
        source, tmp_path / "annotate.mp4", kind="annotate", clips=clips, show_labels=False, quality="high"
    )
    run_to_end(run(spec, tmp_path / "scratch"))
    for path in (outputs["overlay"], tmp_path / "annotate.mp4"):
        both = zip(
            read_patches(path, len(patches)), read_patches(outputs["framing"], len(patches)), strict=True
        )
        assert all(np.abs(color - other).max() <= 4 for color, other in both)
    assert find_violations(outputs["overlay"], sound=False) == []
