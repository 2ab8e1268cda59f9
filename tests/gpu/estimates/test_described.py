"""A source of which only the description is known is planned as the file is."""

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from gpu.errors import ExportError
from gpu.estimates.planned import plan_estimate
from gpu.export_types.registry import parse_config
from gpu.spec import DescribedSource, EstimateSpec, LocalFile
from tests.gpu.estimates import test_estimates
from tests.gpu.estimates.test_estimates import CONFIGS, SIZE_FACTOR, _crop

sources = test_estimates.sources
"""The fixture: files of several shapes."""
DESCRIBED = {"duration": 60.0, "width": 320, "height": 180, "fps": 30.0, "codec": "h264", "size": 9_000_000}


def describe_file(path: Path) -> DescribedSource:
    """Return what a client says of a file: what the service's own probe finds in it."""
    config = parse_config("overlay", {"input_key": "source"})
    spec = EstimateSpec(type="overlay", config=config, sources={"source": LocalFile(path=str(path))})
    probed: dict[str, Any] = {**plan_estimate(spec)["sources"]["source"]}
    (picture,) = (track for track in probed.pop("picture_tracks") if track["chosen"])
    tracks = [
        {name: track[name] for name in ("codec", "channels", "sample_rate")}
        for track in probed.pop("audio_tracks")
    ]
    return DescribedSource(
        **probed, codec=picture["codec"], size=path.stat().st_size, audio_tracks=tuple(tracks)
    )


def plan(config: dict[str, Any], **keys: Any) -> tuple[dict[str, Any], Any]:
    """Return the output of a plan, and its sources; or the code and the place of its error."""
    fields = {"input_key": "source", "quality": "draft", **config}
    kind = fields.pop("type")
    try:
        planned = plan_estimate(EstimateSpec(type=kind, config=parse_config(kind, fields), sources=keys))
    except ExportError as error:
        return {}, (error.code, error.loc)
    return {**planned["output"]}, planned["source"]


@pytest.mark.parametrize("kind", ["clear", "silent", "variable", "two tracks"])
def test_a_description_is_planned_as_its_file(sources: dict[str, Path], kind: str) -> None:
    described = describe_file(sources[kind])
    other = LocalFile(path=str(sources["silent"]))
    for name, config in CONFIGS.items():
        of_file, source = plan(config, source=LocalFile(path=str(sources[kind])), other=other)
        of_words, shown = plan(config, source=described, other=other)
        if not of_file:
            assert (of_words, shown) == ({}, source), name
            continue
        size = of_file.pop("size")
        assert of_words.pop("size") / size == pytest.approx(1, rel=SIZE_FACTOR - 1) or name == "copy"
        assert of_words == pytest.approx(of_file, rel=0.01), name
        if "other" not in str(config):
            assert {**shown, "audio_tracks": []} == {**source, "audio_tracks": []}, name
            assert [track["chosen"] for track in shown["audio_tracks"]] == [
                track["chosen"] for track in source["audio_tracks"]
            ]


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"width": 100_000}, "source_too_large"), ({"duration": 90_000.0}, "source_too_large")],
)
def test_what_no_export_may_read_is_refused_as_the_file_would_be(changes: dict[str, Any], code: str) -> None:
    described = DescribedSource(**DESCRIBED | changes)
    assert plan(_crop(), source=described) == ({}, (code, ("input_key",)))


@pytest.mark.parametrize(
    "changes",
    [
        {"fps": 0},
        {"fps": 1e-9},
        {"fps": float("inf")},
        {"duration": -1},
        {"size": 0},
        {"codec": "h264\n"},
        {"codec": "x" * 41},
        {"audio_tracks": [{"codec": "aac"}] * 257},
        {"path": os.devnull},
    ],
)
def test_a_description_is_bounded(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DescribedSource(**DESCRIBED | changes)


@pytest.mark.parametrize("fps", [0.001, 10_000.0])
def test_the_slowest_and_the_fastest_rate_are_planned(fps: float) -> None:
    described = DescribedSource(**DESCRIBED | {"fps": fps, "duration": 86_400.0})
    for config in (CONFIGS["crop"], CONFIGS["clips"], CONFIGS["copy"]):
        output, error = plan(config, source=described)
        assert output or error[0] in {"output_too_long", "clip_outside_source"}


def test_a_codec_that_nobody_knows_and_a_still_codec_are_estimated(sources: dict[str, Path]) -> None:
    for codec in ("no_such_codec", "prores"):
        output, _ = plan(_crop(), source=DescribedSource(**DESCRIBED | {"codec": codec}))
        assert output["size"] > 0
