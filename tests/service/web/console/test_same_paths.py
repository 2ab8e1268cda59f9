"""The console previews exports with its own JavaScript: its numbers are those of the service."""

import json
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gpu.export_types.crop import clamp_crop, crop_path
from gpu.export_types.framing import CropKeyframe, FramingConfig, output_size
from gpu.export_types.highlight import Highlight
from gpu.export_types.keyframes import Spline
from gpu.export_types.overlay import HighlightRegion, OverlaySettings
from gpu.export_types.rotation import find_overhang
from tests.support.npm.node_runtime import NODE

EDITOR = Path(__file__).parents[4] / "service" / "web" / "console" / "editor"
SEED = 20_261_130
WIDTH, HEIGHT = 1920, 1080


def evaluate(module: str, name: str, calls: list[list[Any]]) -> list[Any]:
    """Return what a function of the console returns for each list of arguments."""
    request = {"module": (EDITOR / module).as_uri(), "name": name, "calls": calls}
    script = Path(__file__).with_name("evaluate.mjs")
    process = subprocess.run(
        [NODE, script], input=json.dumps(request), capture_output=True, text=True, check=True, timeout=60
    )
    results: list[Any] = json.loads(process.stdout)
    return results


def draw_times(generator: random.Random, count: int) -> list[float]:
    return sorted({round(generator.uniform(0, 60), 3) for _ in range(count)})


def draw_moments(generator: random.Random, times: list[float]) -> list[float]:
    """Draw times before, on, between and after keyframes."""
    return [0.0, times[0], times[-1], times[-1] + 1, *(generator.uniform(0, 61) for _ in range(6))]


def test_a_thousand_random_splines_have_the_same_values() -> None:
    generator = random.Random(SEED)  # noqa: S311
    calls, expected = [], []
    for _ in range(1_000):
        times = draw_times(generator, generator.randint(1, 12))
        values = [tuple(generator.uniform(-5_000, 5_000) for _ in range(4)) for _ in times]
        spline = Spline(times, values)
        for moment in draw_moments(generator, times):
            calls.append([times, values, moment])
            expected.append(list(spline.at(moment)))
    assert evaluate("paths.js", "evaluateSpline", calls) == expected


def draw_crops(generator: random.Random) -> list[CropKeyframe]:
    return [
        CropKeyframe(
            time=time,
            x=generator.uniform(-900, 1900),
            y=generator.uniform(-500, 1000),
            width=generator.uniform(1, 2600),
            height=generator.uniform(1, 1500),
        )
        for time in draw_times(generator, generator.randint(1, 8))
    ]


@pytest.mark.parametrize("has_rotation", [False, True])
def test_crops_are_moved_into_the_picture_in_the_same_way(has_rotation: bool) -> None:
    generator = random.Random(SEED)  # noqa: S311
    calls, expected = [], []
    for _ in range(500):
        keyframes = draw_crops(generator)
        degrees = generator.uniform(-180, 180) if has_rotation else 0.0
        overhang = find_overhang(keyframes, (WIDTH, HEIGHT), degrees)
        for moment in draw_moments(generator, [keyframe.time for keyframe in keyframes]):
            crop = clamp_crop(crop_path(keyframes).at(moment), (WIDTH, HEIGHT), overhang)
            frame = {"width": WIDTH, "height": HEIGHT}
            calls.append([[keyframe.model_dump() for keyframe in keyframes], moment, frame, degrees])
            expected.append({"x": crop.x, "y": crop.y, "width": crop.width, "height": crop.height})
    for actual, right in zip(evaluate("paths.js", "cropAt", calls), expected, strict=True):
        assert actual == pytest.approx(right, abs=1e-9)


def test_the_size_of_the_preview_is_that_of_the_output_which_has_even_sides() -> None:
    generator = random.Random(SEED)  # noqa: S311
    calls, expected = [], []
    for _ in range(500):
        keyframes = draw_crops(generator)[:1]
        keyframes[0] = keyframes[0].model_copy(
            update={
                "width": generator.choice([605.0, 607.0, 333.3]),
                "height": generator.choice([360.0, 1_001.0]),
            }
        )
        sides = {
            name: generator.choice([720, 1080])
            for name in ("output_width", "output_height")
            if generator.random() < 0.5
        }
        config = FramingConfig(input_key="uploads/a.mp4", keyframes=keyframes, **sides)
        calls.append([{"keyframes": [keyframe.model_dump() for keyframe in keyframes], **sides}])
        width, height = output_size(config)
        expected.append({"width": width, "height": height})
    for actual, right in zip(evaluate("paths.js", "outputSize", calls), expected, strict=True):
        assert actual == pytest.approx(right, abs=1)


def draw_region(generator: random.Random) -> dict[str, Any]:
    start = round(generator.uniform(0, 30), 3)
    region: dict[str, Any] = {
        "start_time": start,
        "end_time": start + round(generator.uniform(0.05, 20), 3),
        "keyframes": [
            {
                "time": time,
                "x": generator.uniform(-100, 2000),
                "y": generator.uniform(-100, 1200),
                "radiusX": generator.uniform(0.1, 500),
                "radiusY": generator.uniform(0.1, 500),
                **({"color": "#12ab9f"} if generator.random() < 0.3 else {}),
                **({"strokeOpacity": 0.4} if generator.random() < 0.3 else {}),
                **({"fillOpacity": 0.9} if generator.random() < 0.3 else {}),
            }
            for time in draw_times(generator, generator.randint(1, 6))
        ],
    }
    if generator.random() < 0.3:
        region["videoWidth"] = 1280
    if generator.random() < 0.3:
        region["videoHeight"] = 720
    if generator.random() < 0.3:
        region["color"] = "#ff0080"
    return region


def test_highlights_have_the_same_shape_fade_and_color() -> None:
    generator = random.Random(SEED)  # noqa: S311
    calls, expected = [], []
    for _ in range(500):
        region = draw_region(generator)
        settings = OverlaySettings(
            shape=generator.choice(["body", "ground"]),
            fill_enabled=generator.random() < 0.5,
            fade=generator.choice([0, 0.25, 3]),
        )
        highlight = Highlight(HighlightRegion.model_validate(region), settings, WIDTH, HEIGHT)
        start, end = region["start_time"], region["end_time"]
        for moment in (
            start - 0.01,
            start,
            end,
            generator.uniform(start, end),
            generator.uniform(start, end),
        ):
            calls.append([region, settings.model_dump(), {"width": WIDTH, "height": HEIGHT}, moment])
            state = highlight.at(moment)
            expected.append(
                state
                and {
                    "x": state.ellipse.x,
                    "y": state.ellipse.y,
                    "radiusX": state.ellipse.radius_x,
                    "radiusY": state.ellipse.radius_y,
                    "level": state.level,
                    "strokeOpacity": state.stroke_opacity,
                    "fillOpacity": state.fill_opacity,
                    "color": list(state.color),
                }
            )
    assert evaluate("paths.js", "highlightAt", calls) == expected


def test_the_settings_of_an_overlay_begin_with_the_same_values() -> None:
    assert evaluate("paths.js", "DEFAULT_SETTINGS", [[]]) == [OverlaySettings().model_dump()]
