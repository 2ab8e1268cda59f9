"""An estimate says what the export ends in: the size and the length of its file, or the error with its sentence."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpu.errors import ExportError
from gpu.estimates.planned import plan_estimate
from gpu.export_types.registry import parse_config
from gpu.pipeline import run
from gpu.spec import AttemptSpec, EstimateSpec, LocalFile, Transfer
from tests.gpu.run_pipeline import run_to_end
from tests.gpu.sources.stream_films import AudioSpec, VideoSpec, write_streams
from tests.support.videos import Video, clicks, dot, frame_times, write_video

FRAME_SECONDS = 1 / 24
SIZE_FACTOR = 8
"""Of files of some kilobytes, whose sound is nearly silent; `sizes` measures what holds for real ones."""
Config = dict[str, Any]


def _crop(**fields: Any) -> Config:
    first = {"time": 0, "x": 0, "y": 0, "width": 160, "height": 90}
    return {"type": "framing", "keyframes": [first], **fields}


def _clips(*spans: tuple[float, float], key: str | None = None, **fields: Any) -> Config:
    clips = [{"start_time": start, "end_time": end, "name": "A", "input_key": key} for start, end in spans]
    return {"type": "annotate", "clips": clips, **fields}


def _region(start: float, *, enabled: bool = True) -> Config:
    ellipse = {"time": start, "x": 160, "y": 90, "radiusX": 20, "radiusY": 20}
    return {"start_time": start, "end_time": start + 0.5, "enabled": enabled, "keyframes": [ellipse]}


def _overlay(*regions: Config, **fields: Any) -> Config:
    return {"type": "overlay", "highlight_regions": list(regions), **fields}


CONFIGS: dict[str, Config] = {
    "crop": _crop(),
    "scaled crop": _crop(output_width=96, output_height=128, fps=12),
    "trim in slow motion": _crop(
        trim={"start": 0.1, "end": 0.7}, segments=[{"start": 0.2, "end": 0.4, "speed": 0.5}]
    ),
    "crop outside": _crop(
        keyframes=[
            {"time": 0, "x": 0, "y": 0, "width": 90, "height": 90},
            {"time": 1, "x": 4000, "y": 0, "width": 90, "height": 90},
        ]
    ),
    "trim beyond the end": _crop(trim={"start": 0.5, "end": 60}),
    "nothing left": _crop(trim={"start": 0.1, "end": 0.1002}, segments=[{"start": 0, "end": 1, "speed": 8}]),
    "second track": _crop(audio={"track": 1}),
    "tracks that are not there": _crop(audio={"mix": [0, 7]}),
    "all tracks": _clips((0, 0.5), audio="all"),
    "clips": _clips((0, 0.4), (0.2, 0.8), transition={"type": "dissolve", "duration": 0.2}),
    "clips at another rate": _clips((0, 0.5), fps=50, include_audio=False),
    "clip beyond the end": _clips((0, 0.5), (0.2, 90)),
    "clip of another source": _clips((0, 0.4), key="other"),
    "copy": _overlay(),
    "highlight": _overlay(_region(0.1), _region(99, enabled=False)),
    "region beyond the end": _overlay(_region(0.1), _region(50)),
    "text beyond the end": _overlay(
        text_layers=[{"text": "late", "start_time": 70, "end_time": 80, "x": 9, "y": 9}]
    ),
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write sources of several shapes, and files that are none."""
    folder = tmp_path_factory.mktemp("sources")
    clear = Video(draw=lambda time: dot(40 + 90 * time, 90), times=frame_times(1), tone=clicks(1, 0.5))
    silent = Video(
        draw=lambda time: dot(40 + 90 * time, 50, width=241, height=101),
        times=frame_times(0.9, 24),
        rate=Fraction(24),
        pixel_format="yuv444p",
    )
    variable = Video(
        draw=lambda time: dot(40 + 90 * time, 90), times=(0, 0.05, 0.2, 0.31, 0.5, 0.55, 0.8, 0.9)
    )
    whole = write_video(folder / "clear.mp4", clear)
    content = whole.read_bytes()
    bad = {"empty": b"", "garbage": b"no film" * 99, "half": content[: len(content) // 2]}
    for name, content in bad.items():
        (folder / f"{name}.mp4").write_bytes(content)
    tracks = AudioSpec(300), AudioSpec(440, "stereo", default=False)
    return {
        "clear": whole,
        "silent": write_video(folder / "silent.mp4", silent),
        "variable": write_video(folder / "variable.mkv", variable),
        "two tracks": write_streams(folder / "tracks.mkv", VideoSpec(200), *tracks),
        "missing": folder / "missing.mp4",
        **{name: folder / f"{name}.mp4" for name in bad},
    }


def _parts(config: Config, source: Path) -> tuple[dict[str, Any], dict[str, LocalFile | Any]]:
    fields = {"input_key": "source", "quality": "draft", **config}
    kind = fields.pop("type")
    keys = {
        "source": LocalFile(path=str(source)),
        "other": LocalFile(path=str(source.with_name("silent.mp4"))),
    }
    return {"type": kind, "config": parse_config(kind, fields)}, keys


def _estimate(config: Config, source: Path) -> tuple[dict[str, Any] | None, ExportError | None]:
    common, keys = _parts(config, source)
    try:
        return {**plan_estimate(EstimateSpec(sources=keys, **common))}, None
    except ExportError as error:
        return None, error


def _export(config: Config, source: Path, folder: Path) -> tuple[Any, ExportError | None]:
    common, keys = _parts(config, source)
    transfer = Transfer(sources=keys, output=LocalFile(path=str(folder / "output.mp4")))
    spec = AttemptSpec(job_id="job", attempt=1, call_id="call", transfer=transfer, **common)
    try:
        return run_to_end(run(spec, folder / "scratch"))[1], None
    except ExportError as error:
        return None, error


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("kind", ["clear", "silent", "variable", "two tracks"])
def test_an_estimate_is_what_the_export_of_a_video_ends_in(
    sources: dict[str, Path], tmp_path: Path, name: str, kind: str
) -> None:
    planned, expected_error = _estimate(CONFIGS[name], sources[kind])
    output, error = _export(CONFIGS[name], sources[kind], tmp_path)
    if error is not None or expected_error is not None:
        assert expected_error is not None, error
        assert error is not None, expected_error
        assert (expected_error.code, expected_error.message) == (error.code, error.message)
        assert _find(CONFIGS[name], expected_error.loc)
        return
    assert planned is not None
    assert (planned["output"]["width"], planned["output"]["height"]) == (output.width, output.height)
    assert abs(planned["output"]["duration"] - output.duration) <= FRAME_SECONDS
    assert 1 / SIZE_FACTOR < planned["output"]["size"] / output.size < SIZE_FACTOR


@pytest.mark.parametrize("config", ["crop", "clips", "copy"])
@pytest.mark.parametrize("kind", ["empty", "garbage", "half", "missing"])
def test_a_file_that_is_no_video_is_the_error_of_the_export(
    sources: dict[str, Path], tmp_path: Path, config: str, kind: str
) -> None:
    _, expected = _estimate(CONFIGS[config], sources[kind])
    _, error = _export(CONFIGS[config], sources[kind], tmp_path)
    assert error is not None
    assert expected is not None
    assert (expected.code, expected.message, expected.loc) == (error.code, error.message, ("input_key",))


@pytest.mark.parametrize(
    ("name", "loc"),
    {
        "crop outside": ("keyframes", 1),
        "trim beyond the end": ("trim",),
        "nothing left": ("segments",),
        "tracks that are not there": ("audio", "mix", 1),
        "clip beyond the end": ("clips", 1),
        "region beyond the end": ("highlight_regions", 1, "start_time"),
        "text beyond the end": ("text_layers", 0, "start_time"),
    }.items(),
)
def test_an_error_names_the_field_of_the_config(
    sources: dict[str, Path], name: str, loc: tuple[str | int, ...]
) -> None:
    _, error = _estimate(CONFIGS[name], sources["two tracks"])
    assert error is not None
    assert error.loc == loc


def test_the_second_source_of_a_film_is_named_where_it_is_used(sources: dict[str, Path]) -> None:
    config = _clips((0, 0.4), (0, 0.4))
    config["clips"][1]["input_key"] = "other"
    common, keys = _parts(config, sources["clear"])
    spec = EstimateSpec(sources=keys | {"other": LocalFile(path=str(sources["garbage"]))}, **common)
    with pytest.raises(ExportError) as caught:
        plan_estimate(spec)
    assert (caught.value.code, caught.value.loc) == ("source_unreadable", ("clips", 1, "input_key"))


def test_no_audio_is_decoded_to_find_what_is_silent(tmp_path: Path) -> None:
    tones = AudioSpec(0), AudioSpec(440, default=False)
    source = write_streams(tmp_path / "silent.mkv", VideoSpec(200), *tones)
    planned, _ = _estimate(CONFIGS["crop"], source)
    assert planned is not None
    assert [track["chosen"] for track in planned["source"]["audio_tracks"]] == [True, False]


def test_a_copy_has_the_size_of_its_source(sources: dict[str, Path], tmp_path: Path) -> None:
    _export(CONFIGS["crop"], sources["clear"], tmp_path)
    ready = (tmp_path / "output.mp4").rename(tmp_path / "ready.mp4")
    for config in (_overlay(), _overlay(include_audio=False)):
        planned, _ = _estimate(config, ready)
        output, _ = _export(config, ready, tmp_path)
        assert planned is not None
        assert planned["output"]["size"] == pytest.approx(output.size, rel=0.1, abs=1_000)


def _find(config: Config, loc: tuple[str | int, ...]) -> bool:
    """Tell whether a path leads to a value of the config."""
    value: Any = {"input_key": "source", **config}
    for part in loc:
        value = value[part]
    return bool(np.any(value is not None))
