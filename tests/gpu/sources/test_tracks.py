"""Which streams of a file an export uses, and how the configuration changes that."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from gpu.errors import ExportError
from gpu.export_types.framing import FramingConfig
from gpu.media.audio import add_up, place_left_and_right
from gpu.pipeline import run
from tests.gpu.export_types.overlay_frames import export_overlay
from tests.gpu.run_pipeline import attempt_spec, export, run_to_end
from tests.gpu.sources.stream_films import AudioSpec, VideoSpec, tone_levels, write_streams
from tests.support.videos import read_lumas, read_samples

FILM, GREY = VideoSpec(200), 200
LEFT, RIGHT = AudioSpec(300, codec="pcm_s16le"), AudioSpec(2_000, codec="pcm_s16le", default=False)
AUDIBLE, INAUDIBLE = -35, -60


def level(path: Path, hertz: float) -> float:
    return min(tone_levels(path, hertz))


@pytest.mark.parametrize(
    "streams",
    [
        pytest.param((VideoSpec(60, (160, 90), 1, "mjpeg", default=False), FILM), id="a thumbnail before it"),
        pytest.param((VideoSpec(60, (160, 90), 1, "mjpeg"), FILM), id="a thumbnail flagged default too"),
        pytest.param((FILM, VideoSpec(60, (640, 360), 1, "mjpeg")), id="a larger still behind it"),
        pytest.param((VideoSpec(60, (160, 90)), FILM), id="a preview before it"),
        pytest.param((VideoSpec(60, (640, 360), default=False), FILM), id="a larger one that isn't default"),
    ],
)
@pytest.mark.parametrize("suffix", ["mov", "mkv"])
def test_the_film_is_no_thumbnail_nor_preview(
    tmp_path: Path, streams: tuple[VideoSpec, ...], suffix: str
) -> None:
    if suffix == "mkv" and streams[0].frames == 2:
        pytest.skip("its header does not say how long each stream lasts")
    output_path, _, _ = export(write_streams(tmp_path / f"source.{suffix}", *streams, AudioSpec(440)))
    shown = read_lumas(output_path)
    assert len(shown) == 30
    assert {round(float(luma.mean())) for _, luma in shown} == {GREY}


@pytest.mark.parametrize("suffix", ["mov", "mkv"])
def test_the_film_is_no_larger_one_that_ends_at_once(tmp_path: Path, suffix: str) -> None:
    output_path, _, _ = export(
        write_streams(tmp_path / f"source.{suffix}", VideoSpec(60, (640, 360), 2), FILM)
    )
    assert len(read_lumas(output_path)) == 30


@pytest.mark.parametrize("suffix", ["mov", "mkv", "ts", "avi", "vob"])
@pytest.mark.parametrize(
    ("frames", "chosen"),
    [((8, 30), 1), ((20, 30), 1), ((30, 8), 0), ((30, 20), 0), ((30, 30), 0), ((29, 30), 0)],
    ids=str,
)
def test_of_pictures_as_large_the_film_is_the_one_of_more_frames_or_the_first(
    tmp_path: Path, suffix: str, frames: tuple[int, int], chosen: int
) -> None:
    # MOV flags the first one if none is.
    streams = [
        VideoSpec(luma, frames=count, default=suffix == "mov")
        for luma, count in zip((GREY, 60), frames, strict=True)
    ]
    output_path, _, _ = export(
        write_streams(tmp_path / f"source.{suffix}", *streams, AudioSpec(440, codec="mp2"))
    )
    lumas = [round(float(luma.mean())) for _, luma in read_lumas(output_path)]
    assert set(lumas) == {(GREY, 60)[chosen]}
    assert lumas.count((GREY, 60)[chosen]) >= frames[chosen]


@pytest.mark.parametrize("suffix", ["mov", "mkv"])
@pytest.mark.parametrize(
    ("sounds", "hertz"),
    [
        pytest.param((AudioSpec(300, default=False), AudioSpec(2_000)), 2_000, id="the default one"),
        pytest.param((AudioSpec(300), AudioSpec(2_000, "stereo")), 2_000, id="the one of more channels"),
        pytest.param((AudioSpec(300), AudioSpec(2_000)), 300, id="the first of equals"),
        pytest.param(
            (AudioSpec(0, "stereo"), AudioSpec(2_000, default=False)), 2_000, id="the next if one is silent"
        ),
        pytest.param((AudioSpec(0), AudioSpec(0), AudioSpec(880)), 880, id="the next if two are silent"),
    ],
)
def test_the_sound_is_the_films_own(
    tmp_path: Path, suffix: str, sounds: tuple[AudioSpec, ...], hertz: float
) -> None:
    output_path, _, _ = export(write_streams(tmp_path / f"source.{suffix}", FILM, *sounds))
    assert level(output_path, hertz) > AUDIBLE
    assert all(level(output_path, other) < INAUDIBLE for other in {300, 880, 2_000} - {hertz})


def test_a_silent_track_that_was_skipped_is_noted_in_every_message(tmp_path: Path) -> None:
    source = write_streams(tmp_path / "source.mp4", FILM, AudioSpec(0), AudioSpec(2_000, default=False))
    _, _, ticks = export(source)
    messages = [tick.message for tick in ticks if tick.phase == "processing"]
    assert all(
        line.endswith("Sound track 0 is silent, so sound track 1 is used instead.") for line in messages
    )


def test_the_sound_is_that_of_the_pictures_own_programme(tmp_path: Path) -> None:
    # Written by FFmpeg: 32 x 18 in black with 300 Hz is one programme, 64 x 36 in white with 2000 Hz the other.
    source = tmp_path / "source.ts"
    source.write_bytes((Path(__file__).parents[1] / "data" / "programmes.ts").read_bytes())
    output_path, _, _ = export(source, keyframes=[{"time": 0, "x": 0, "y": 0, "width": 64, "height": 36}])
    assert read_lumas(output_path)[5][1].mean() > 200
    assert level(output_path, 2_000) > AUDIBLE
    assert level(output_path, 300) < INAUDIBLE


def test_where_all_are_silent_the_first_is_taken(tmp_path: Path) -> None:
    output_path, _, ticks = export(write_streams(tmp_path / "source.mp4", FILM, AudioSpec(0), AudioSpec(0)))
    assert np.abs(read_samples(output_path)).max() < 1e-3
    assert not any("silent" in tick.message for tick in ticks)


@pytest.mark.parametrize("name", ["source.mov", "source.mkv", "source.avi"])
def test_a_pair_of_mono_tracks_is_left_and_right(tmp_path: Path, name: str) -> None:
    output_path, _, _ = export(write_streams(tmp_path / name, FILM, LEFT, RIGHT))
    assert tone_levels(output_path, 300)[0] > AUDIBLE
    assert tone_levels(output_path, 300)[1] < INAUDIBLE
    assert tone_levels(output_path, 2_000)[0] < INAUDIBLE
    assert tone_levels(output_path, 2_000)[1] > AUDIBLE


def test_compressed_mono_tracks_are_no_pair(tmp_path: Path) -> None:
    output_path, _, _ = export(write_streams(tmp_path / "source.mov", FILM, AudioSpec(300), AudioSpec(2_000)))
    assert level(output_path, 300) > AUDIBLE
    assert level(output_path, 2_000) < INAUDIBLE


@pytest.mark.parametrize(
    ("audio", "heard"),
    [
        ({"track": 0}, {300}),
        ({"track": 1}, {2_000}),
        ({"track": 2}, {880}),
        ({"mix": [1, 2]}, {2_000, 880}),
        ({"mix": [0]}, {300}),
        ("all", {300, 2_000, 880}),
    ],
    ids=str,
)
def test_people_choose_what_is_heard(tmp_path: Path, audio: Any, heard: set[int]) -> None:
    source = write_streams(
        tmp_path / "source.mov", FILM, AudioSpec(300), AudioSpec(2_000, "stereo"), AudioSpec(880)
    )
    for output_path in (export(source, audio=audio)[0], export_overlay(source, audio=audio)):
        assert {hertz for hertz in (300, 880, 2_000) if level(output_path, hertz) > AUDIBLE} == heard


def test_all_tracks_leave_left_and_right_on_their_sides(tmp_path: Path) -> None:
    source = write_streams(tmp_path / "source.mov", FILM, LEFT, RIGHT, AudioSpec(880, "stereo"))
    output_path, _, _ = export(source, audio="all")
    assert level(output_path, 880) > AUDIBLE
    assert tone_levels(output_path, 300)[1] < INAUDIBLE < AUDIBLE < tone_levels(output_path, 2_000)[1]


def test_a_choice_holds_at_a_trim_in_segments_and_in_chunks(tmp_path: Path) -> None:
    streams = (VideoSpec(200, frames=150), AudioSpec(300), AudioSpec(2_000))
    source = write_streams(tmp_path / "source.mov", *streams)
    output_path, _, _ = export(
        source,
        audio={"mix": [0, 1]},
        trim={"start": 0.2, "end": 4.8},
        segments=[{"start": 0.3, "end": 0.8, "speed": 0.5}],
        parallelism=2,
    )
    assert level(output_path, 300) > AUDIBLE - 15
    assert level(output_path, 2_000) > AUDIBLE - 15


def test_annotate_takes_the_track_too(tmp_path: Path) -> None:
    source, output = (
        write_streams(tmp_path / "source.mov", FILM, AudioSpec(300), AudioSpec(2_000)),
        tmp_path / "output.mp4",
    )
    clips = [{"start_time": 0.1, "end_time": 0.9, "name": "a"}]
    run_to_end(
        run(attempt_spec(source, output, kind="annotate", clips=clips, audio={"track": 1}), tmp_path / "x")
    )
    assert level(output, 2_000) > AUDIBLE
    assert level(output, 300) < INAUDIBLE


@pytest.mark.parametrize(
    ("sounds", "expected_text"),
    [
        ((), "no sound track"),
        ((AudioSpec(300),), "one sound track"),
        ((AudioSpec(300),) * 2, "numbers 0 to 1"),
    ],
    ids=["none", "one", "two"],
)
@pytest.mark.parametrize("audio", [{"track": 2}, {"mix": [0, 2]}], ids=str)
def test_a_missing_track_is_an_error(
    tmp_path: Path, sounds: tuple[AudioSpec, ...], expected_text: str, audio: Any
) -> None:
    with pytest.raises(ExportError, match=expected_text) as caught:
        export(write_streams(tmp_path / "source.mov", FILM, *sounds), audio=audio)
    assert caught.value.code == "no_such_track"


@pytest.mark.parametrize(
    "audio", ["some", {"track": -1}, {"mix": []}, {"track": 0, "mix": [1]}, {"track": 1.5}, 0, {"mix": "all"}]
)
def test_a_choice_that_is_none_is_refused(audio: Any) -> None:
    keyframes = [{"time": 0, "x": 0, "y": 0, "width": 320, "height": 180}]
    with pytest.raises(ValidationError):
        FramingConfig.model_validate({"input_key": "a", "keyframes": keyframes, "audio": audio})


def test_mixed_sound_stays_within_bounds_and_blocks_need_not_be_alike() -> None:
    ramp = np.tile(np.linspace(-0.9, 0.9, 10, dtype=np.float32), (2, 1))
    mixed = np.concatenate(list(add_up([iter([ramp]), iter([ramp[:, :3], ramp[:, 3:]])])), axis=1)
    assert mixed == pytest.approx(np.clip(ramp * 2, -1, 1))
    both = np.concatenate(
        list(place_left_and_right([iter([ramp]), iter([-ramp[:, :7], -ramp[:, 7:]])])), axis=1
    )
    assert both == pytest.approx(np.stack([ramp[0], -ramp[1]]))
