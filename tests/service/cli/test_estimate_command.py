"""`framehook estimate`, and what `framehook export` finds in the file before anything is sent."""

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Self

import pytest

from framehook import Client
from service.cli.exports.create import LARGE_BYTES
from service.cli.exports.local_plan import plan_local_export
from tests.service.cli.commands import CommandResult, run
from tests.support.fakes import FakeRunner
from tests.support.live_server import (
    FRAMING,
    ScriptedResponse,
    free_port,
    serve_app,
    serve_script,
    settings_on,
)

OUTSIDE = {"keyframes": [{"time": 0, "x": 4_000, "y": 0, "width": 320, "height": 180}]}
SENTENCE = "framehook: config.keyframes.0: The crop at 0.00 s is outside the picture of 320 x 180.\n"


def config_words(config: object, *more: str) -> tuple[str, ...]:
    return ("--type", "framing", "--config", json.dumps(config), *more)


def test_nothing_is_sent_of_a_video_that_the_config_does_not_fit(source: Path) -> None:
    with serve_script(ScriptedResponse(500)) as service:
        results = [
            run(command, source, *config_words(OUTSIDE), FRAMEHOOK_URL=service.url)
            for command in ("export", "estimate")
        ]
        assert service.requests == []
    assert results == [CommandResult(2, "", SENTENCE)] * 2


def test_nothing_is_sent_of_a_file_that_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "bad.mp4"
    path.write_bytes(b"no film")
    with serve_script(ScriptedResponse(500)) as service:
        result = run("export", path, *config_words(FRAMING), FRAMEHOOK_URL=service.url)
        assert service.requests == []
    assert (result.status, result.err.count("\n")) == (2, 1)
    assert "bad.mp4: The source is not a readable video" in result.err


async def test_an_estimate_of_a_key_is_that_of_the_service(
    data_dir: Path, source: Path, tmp_path: Path
) -> None:
    async with serve_app(settings_on(free_port(), data_dir), FakeRunner()) as server:

        def compare() -> None:
            with Client(server.url) as client:
                key = client.upload(source)
            words = config_words(FRAMING, "--json")
            of_key, of_file = (
                json.loads(run("estimate", video, *words, FRAMEHOOK_URL=server.url).out)
                for video in (key, source)
            )
            assert of_key == of_file
            assert of_file["seconds"]["p50"] > 0
            shown = run("estimate", key, *config_words(FRAMING), FRAMEHOOK_URL=server.url)
            assert shown.out.startswith("Output: 320x180, 0.5 s, about ")
            refused = run("estimate", key, *config_words(OUTSIDE), FRAMEHOOK_URL=server.url)
            assert (refused.status, refused.out) == (4, "")
            assert refused.err == "framehook: The crop at 0.00 s is outside the picture of 320 x 180.\n"

        await asyncio.to_thread(compare)


def test_without_a_service_time_and_cost_of_a_file_are_not_known(source: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    result = run("estimate", source, *config_words(FRAMING), FRAMEHOOK_URL=url)
    assert (result.status, result.out.count("\n")) == (0, 1)
    assert result.out.startswith("Output: 320x180, 0.5 s, about ")
    assert "time and cost are not known" in result.err


def test_an_export_of_a_large_file_says_what_it_takes_before_it_is_sent(source: Path) -> None:
    with source.open("ab") as file:
        file.truncate(LARGE_BYTES)
    estimated = {
        "seconds": {"p50": 90.0, "p90": 240.0},
        "gpu_seconds": 90.0,
        "cost_usd": {"p50": 0.02, "p90": 0.05},
        "output": {"width": 320, "height": 180, "duration": 0.5, "size": 1},
        "source": {"duration": 0.5, "width": 320, "height": 180, "fps": 30.0, "audio_tracks": []},
    }
    refusal = ScriptedResponse(413, body=b'{"title": "The file is too large."}')
    with serve_script(ScriptedResponse(200, body=json.dumps(estimated).encode()), refusal) as service:
        result = run("export", source, *config_words(FRAMING), FRAMEHOOK_URL=service.url)
        paths = [request.path for request in service.requests]
    assert paths == ["/api/exports/estimate", "/api/uploads"]
    assert "Time: about 1:30, in nine of ten at most 4:00\nCost: about $0.0200" in result.err
    described = json.loads(service.requests[0].body)["source"]
    assert (described["size"], described["width"], described["codec"]) == (LARGE_BYTES, 320, "h264")


def test_a_check_that_takes_too_long_is_left_to_the_service(source: Path) -> None:
    assert plan_local_export(source, "framing", OUTSIDE, max_seconds=0.0) is None


def test_a_check_whose_process_ends_before_it_reads_is_left_to_the_service(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class EndedProcess(subprocess.Popen[bytes]):
        def __enter__(self) -> Self:
            self.kill()
            self.wait()
            return super().__enter__()

    monkeypatch.setattr(subprocess, "Popen", EndedProcess)
    assert plan_local_export(source, "framing", OUTSIDE) is None


def test_clips_of_stored_sources_are_left_to_the_service(source: Path) -> None:
    clip = {"start_time": 0, "end_time": 99, "name": "A", "input_key": "uploads/1/other.mp4"}
    assert plan_local_export(source, "annotate", {"clips": [clip]}) is None
