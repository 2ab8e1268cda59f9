"""`framehook export` validates its input first, and reuses an upload after a rejection."""

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.service.cli.commands import CommandResult, run
from tests.support.fakes import FakeRunner
from tests.support.live_server import (
    FRAMING,
    PROBLEM,
    Script,
    ScriptedResponse,
    free_port,
    serve_app,
    serve_script,
    settings_on,
)

pytestmark = pytest.mark.anyio


def run_export(source: Path, service: Script, tmp_path: Path, *more: str) -> CommandResult:
    state = {"FRAMEHOOK_URL": service.url, "XDG_STATE_HOME": str(tmp_path / "state")}
    return run("export", source, *more, **state)


KEYFRAME = {"time": 0, "x": 0, "y": 0, "width": 320, "height": 180}
BAD_CONFIGS = {
    "none": (
        ("--type", "framing"),
        [
            "config.keyframes: Field required",
            "give the parameters of framing with --config FILE or --config JSON",
        ],
    ),
    "a misspelt field": (
        ("--type", "framing", "--config", json.dumps(FRAMING | {"ouput_width": 608})),
        ["config.ouput_width: unknown field; did you mean 'output_width'?"],
    ),
    "a misspelt field of a keyframe": (
        ("--type", "framing", "--config", json.dumps({"keyframes": [KEYFRAME | {"hight": 1}]})),
        ["config.keyframes.0.hight: unknown field; did you mean 'height'?"],
    ),
    "a misspelt field of a region": (
        (
            *("--type", "overlay", "--config"),
            json.dumps(
                {
                    "highlight_regions": [
                        {
                            "start_time": 0,
                            "end_time": 1,
                            "keyframes": [{"time": 0, "x": 0, "y": 0, "radiusx": 1}],
                        }
                    ]
                }
            ),
        ),
        ["config.highlight_regions.0.keyframes.0.radiusX: Field required"],
    ),
    "a field of another type": (
        ("--type", "annotate", "--config", json.dumps({"clips": [], "zzz": 1})),
        ["config.clips: List should have at least 1 item"],
    ),
    "a value that is out of bounds": (
        ("--type", "framing", "--config", json.dumps(FRAMING | {"fps": 1_000})),
        ["config.fps: Input should be less than or equal to 240"],
    ),
    "a background that is not a color": (
        ("--type", "framing", "--config", json.dumps(FRAMING | {"background": "purple"})),
        ["config.background: a background is black or written #rrggbb, such as #ff8800"],
    ),
    "a color by its name": (
        (
            *("--type", "overlay", "--config"),
            json.dumps(
                {
                    "text_layers": [
                        {"text": "a", "start_time": 0, "end_time": 1, "x": 0, "y": 0, "color": "red"}
                    ]
                }
            ),
        ),
        ["config.text_layers.0.color: a color is written #rrggbb, such as #ff8800"],
    ),
    "an output key with a relative path": (
        ("--type", "framing", "--config", json.dumps(FRAMING | {"output_key": "../x"})),
        ["config.output_key: no part of a key is empty, begins with a dot"],
    ),
    "times that are not ascending": (
        ("--type", "framing", "--config", json.dumps({"keyframes": [KEYFRAME, KEYFRAME]})),
        ["config: keyframes must come in rising order of time"],
    ),
}


@pytest.mark.parametrize(("words", "expected"), BAD_CONFIGS.values(), ids=BAD_CONFIGS.keys())
def test_an_invalid_config_is_reported_before_the_upload(
    source: Path, tmp_path: Path, words: tuple[str, ...], expected: list[str]
) -> None:
    with serve_script(ScriptedResponse(500)) as service:
        result = run_export(source, service, tmp_path, *words)
    assert (result.status, result.out, service.requests) == (2, "", [])
    lines = result.err.removeprefix("framehook: ").splitlines()
    assert lines[0].startswith(expected[0])
    assert all(any(line.strip().startswith(each) for line in lines) for each in expected)


def test_a_field_that_resembles_no_other_gets_the_list_of_fields(source: Path, tmp_path: Path) -> None:
    with serve_script(ScriptedResponse(500)) as service:
        result = run_export(
            source, service, tmp_path, "--type", "annotate", "--config", '{"clips": [{"zzz": 1}]}'
        )
    assert (
        "unknown field; the fields are start_time, end_time, name, notes, rating, tags, input_key"
        in result.err
    )


def test_a_thousand_errors_are_not_a_thousand_lines(source: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"keyframes": [{}] * 1_000}))
    with serve_script(ScriptedResponse(500)) as service:
        result = run_export(source, service, tmp_path, "--type", "framing", "--config", str(config))
    assert (result.err.count("\n"), result.err.splitlines()[-1]) == (11, "  and 4990 more")


def folder(path: Path) -> None:
    path.mkdir()


def pipe(path: Path) -> None:
    os.mkfifo(path)


BAD_FILES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "missing": ("none.mp4", lambda _: None, "none.mp4 does not exist"),
    "a folder": ("films.mp4", folder, "films.mp4 is a folder; give a video file"),
    "a pipe": ("pipe.mp4", pipe, "pipe.mp4 is not a file; give a video file"),
    "empty": ("empty.mp4", Path.touch, "empty.mp4 is empty; give a video file"),
    "a text": (
        "a.txt",
        lambda path: path.write_text("x"),
        "a.txt does not have the suffix of a video",
    ),
    "a link to nothing": ("a.mp4", lambda path: path.symlink_to("none"), "a.mp4 does not exist"),
}


@pytest.mark.parametrize(("name", "make", "expected"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_file_that_is_not_a_video_is_reported_in_a_sentence(
    tmp_path: Path, name: str, make: Callable[[Path], object], expected: str
) -> None:
    make(tmp_path / name)
    with serve_script(ScriptedResponse(500)) as service:
        result = run_export(
            tmp_path / name, service, tmp_path, "--type", "framing", "--config", json.dumps(FRAMING)
        )
    assert (result.status, result.err.count("\n"), service.requests) == (2, 1, [])
    assert expected in result.err


async def test_a_file_that_is_too_large_is_reported_before_the_upload(
    data_dir: Path, source: Path, tmp_path: Path
) -> None:
    async with serve_app(settings_on(free_port(), data_dir, max_upload_bytes=4), FakeRunner()) as server:
        words = ("export", source, "--type", "framing", "--config", json.dumps(FRAMING))
        result = await asyncio.to_thread(lambda: run(*words, FRAMEHOOK_URL=server.url))
        assert (result.status, result.err) == (4, "framehook: A file may have at most 4 bytes.\n")


REFUSED = ScriptedResponse(409, PROBLEM, b'{"detail": "Another export already uses this output key."}')
GONE = ScriptedResponse(
    422, PROBLEM, b'{"detail": "x", "errors": [{"loc": ["config", "input_key"], "msg": "none"}]}'
)


REST = {
    "progress": 0,
    "message": "",
    "attempt": 1,
    "sequence": 1,
    "created_at": "2026-01-01T00:00:00Z",
    "input_key": "k",
}


def upload_responses(service: Script) -> list[ScriptedResponse]:
    """Create the responses to the request for an upload and to its bytes."""
    place = {"key": "uploads/1/match.mp4", "url": f"{service.url}/put"}
    return [ScriptedResponse(201, body=json.dumps(place).encode()), ScriptedResponse(201)]


JOB = ScriptedResponse(
    202,
    body=json.dumps(
        {"job_id": "j", "type": "framing", "status": "pending", "phase": "queued"} | REST
    ).encode(),
)


def test_an_upload_whose_export_is_rejected_is_used_by_the_next_command(source: Path, tmp_path: Path) -> None:
    words = ("--type", "framing", "--config", json.dumps(FRAMING))
    with serve_script(ScriptedResponse(500)) as service:
        service.responses = [*upload_responses(service), REFUSED, JOB]
        refused = run_export(source, service, tmp_path, *words)
        again = run_export(source, service, tmp_path, *words)
    assert refused.status == 4
    assert refused.err.splitlines()[-2:] == [
        "framehook: Another export already uses this output key.",
        "  the video is uploaded as uploads/1/match.mp4; the next export of this file uses it without another upload",
    ]
    assert again.status == 0, again.err
    assert [request.path for request in service.requests] == [
        "/api/uploads",
        "/put",
        "/api/exports",
        "/api/exports",
    ]
    assert {json.loads(request.body)["config"]["input_key"] for request in service.requests[2:]} == {
        "uploads/1/match.mp4"
    }
    assert list((tmp_path / "state" / "framehook" / "uploads").iterdir()) == []


def test_a_deleted_upload_is_uploaded_again(source: Path, tmp_path: Path) -> None:
    words = ("--type", "framing", "--config", json.dumps(FRAMING))
    with serve_script(ScriptedResponse(500)) as service:
        service.responses = [*upload_responses(service), REFUSED, GONE, *upload_responses(service), JOB]
        run_export(source, service, tmp_path, *words)
        again = run_export(source, service, tmp_path, *words)
    assert again.status == 0, again.err
    assert [request.path for request in service.requests][3:] == [
        "/api/exports",
        "/api/uploads",
        "/put",
        "/api/exports",
    ]


def test_a_file_whose_name_is_not_utf8_is_exported(source: Path, tmp_path: Path) -> None:
    renamed = source.rename(tmp_path / "match\udcff.mp4")
    with serve_script(ScriptedResponse(500)) as service:
        service.responses = [*upload_responses(service), JOB]
        result = run_export(renamed, service, tmp_path, "--type", "framing", "--config", json.dumps(FRAMING))
    assert result.status == 0, result.err
