"""`POST /api/exports/estimate`: what an export would become, or the 422 that it would end in; nothing is stored."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gpu.export_types.registry import parse_config
from gpu.spec import EstimateSpec, LocalFile
from service.exports.models import ExportRequest
from service.ingest.prober import Prober
from service.problems import Unavailable
from tests.service.conftest import bearer
from tests.support.app_harness import FRAMING, SOURCE, AppHarness
from tests.support.job_factory import fetch_events, fetch_jobs
from tests.support.problems import assert_problem
from tests.support.videos import Video, clicks, dot, frame_times, write_video

URL = "/api/exports/estimate"


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    video = Video(draw=lambda time: dot(40 + 90 * time, 90), times=frame_times(1), tone=clicks(1, 0.5))
    return write_video(tmp_path_factory.mktemp("film") / "film.mp4", video).read_bytes()


async def test_an_estimate_describes_the_output_and_the_source_and_stores_nothing(
    app: AppHarness, film: bytes
) -> None:
    app.put_object(content=film)
    body = app.export_body(name="Final", export_id="final-version-1")
    body["config"] |= {"output_width": 160, "output_height": 90, "fps": 15}
    answer = await app.client.post(URL, json=body, headers={"Idempotency-Key": "once"})
    assert answer.status_code == 200, answer.text
    estimate = answer.json()
    assert set(estimate) == {"seconds", "gpu_seconds", "cost_usd", "output", "source"}
    assert 0 < estimate["seconds"]["p50"] == estimate["gpu_seconds"] < estimate["seconds"]["p90"]
    assert estimate["cost_usd"] == {"p50": 0.0, "p90": 0.0}  # on this machine
    output, source = estimate["output"], estimate["source"]
    assert (output["width"], output["height"], output["duration"]) == (160, 90, 1.0)
    assert 0 < output["size"] < len(film) * 10
    assert (source["width"], source["height"], source["duration"], source["fps"]) == (320, 180, 1.0, 30.0)
    assert [track["codec"] for track in source["audio_tracks"]] == ["aac"]
    assert (await fetch_jobs(app.database), await fetch_events(app.database)) == ({}, [])


@pytest.mark.parametrize(
    ("changes", "code", "loc"),
    [
        (
            {"keyframes": [{"time": 0, "x": 900, "y": 0, "width": 9, "height": 9}]},
            "crop_outside_source",
            ["config", "keyframes", 0],
        ),
        ({"trim": {"start": 0, "end": 30}}, "clip_outside_source", ["config", "trim"]),
        ({"audio": {"track": 3}}, "no_such_track", ["config", "audio", "track"]),
    ],
)
async def test_what_does_not_fit_the_source_is_named(
    app: AppHarness, film: bytes, changes: dict[str, Any], code: str, loc: list[str | int]
) -> None:
    app.put_object(content=film)
    body = app.export_body()
    body["config"] |= changes
    problem = assert_problem(await app.client.post(URL, json=body), 422)
    assert (problem["code"], problem["errors"]) == (code, [{"loc": loc, "msg": problem["detail"]}])


async def test_a_file_that_is_no_video_is_named(app: AppHarness) -> None:
    app.put_object(content=b"no film" * 99)
    problem = assert_problem(await app.client.post(URL, json=app.export_body()), 422)
    assert problem["code"] == "source_unreadable"
    assert problem["errors"][0]["loc"] == ["config", "input_key"]


async def test_what_no_export_would_be_created_for_is_answered_as_its_creation(app: AppHarness) -> None:
    wrong = [
        app.export_body(),  # the source was not uploaded
        app.export_body(not_before="2999-01-01T00:00:00Z"),
        app.export_body(type="gif"),
        app.export_body(config={"input_key": SOURCE}),
        app.export_body(metadata={"a": ["b"]}),
    ]
    for body in wrong:
        created = assert_problem(await app.client.post("/api/exports", json=body), 422)
        estimated = assert_problem(await app.client.post(URL, json=body), 422)
        assert estimated == {**created, "instance": URL}


DESCRIBED = {
    "duration": 1.0,
    "width": 320,
    "height": 180,
    "fps": 30.0,
    "codec": "h264",
    "size": 9_000,
    "audio_tracks": [{"codec": "aac", "channels": 1}],
}


async def test_a_file_that_is_not_uploaded_is_estimated_by_its_description(
    app: AppHarness, film: bytes
) -> None:
    app.put_object(content=film)
    uploaded = (await app.client.post(URL, json=app.export_body())).json()
    body = app.export_body(source=DESCRIBED | {"size": len(film)})
    del body["config"]["input_key"]
    answer = await app.client.post(URL, json=body)
    assert answer.status_code == 200, answer.text
    described = answer.json()
    assert described["output"].pop("size") > 0
    del uploaded["output"]["size"]
    assert [described["source"].pop("audio_tracks")[0]["codec"]] == ["aac"]
    del uploaded["source"]["audio_tracks"]
    assert described == uploaded
    assert (await fetch_jobs(app.database), await fetch_events(app.database)) == ({}, [])


@pytest.mark.parametrize(
    ("config", "source", "status", "loc"),
    [
        ({"trim": {"start": 0, "end": 30}}, {}, 422, ["config", "trim"]),
        ({"input_key": SOURCE}, {}, 422, ["source"]),
        ({}, {"fps": 0}, 422, ["source", "fps"]),
        ({}, {"path": "/etc/passwd"}, 422, ["source", "path"]),
        ({}, {"width": 90_000}, 422, ["config", "input_key"]),
        ({}, {"size": 2**50}, 413, None),
    ],
)
async def test_a_description_is_checked_as_a_file(
    app: AppHarness, config: dict[str, Any], source: dict[str, Any], status: int, loc: list[str] | None
) -> None:
    body = app.export_body(source=DESCRIBED | source)
    del body["config"]["input_key"]
    body["config"] |= config
    problem = assert_problem(await app.client.post(URL, json=body), status)
    assert (problem["errors"][0]["loc"] if loc else None) == loc
    created = await app.client.post("/api/exports", json=body)
    assert assert_problem(created, 422)["code"] == "invalid"  # an export needs the file itself


async def test_an_estimate_reads_the_users_own_files_alone(multi_user_app: AppHarness, film: bytes) -> None:
    multi_user_app.put_object(content=film, user="ada")
    body = multi_user_app.export_body()
    assert_problem(await multi_user_app.client.post(URL, json=body), 401)
    problem = assert_problem(await multi_user_app.client.post(URL, json=body, headers=bearer("bob")), 422)
    assert problem["errors"][0]["loc"] == ["config", "input_key"]


async def test_chunks_in_containers_have_a_gpu_each_that_is_paid_for(app: AppHarness, film: bytes) -> None:
    app.put_object(content=film)
    fields = {"input_key": SOURCE, **FRAMING, "segments": [{"start": 0, "end": 1, "speed": 0.1}]}
    dear = replace(app.state["estimator"], usd_per_second=0.001, has_remote_chunks=True)
    for parallelism, gpus in ((1, 1), (3, 4), (32, 6)):  # ten seconds are at most five chunks
        config = parse_config("framing", fields | {"parallelism": parallelism})
        estimate = await dear.estimate("local", ExportRequest(type="framing", config=config, raw_config={}))
        seconds, cost = estimate["seconds"], estimate["cost_usd"]
        assert seconds["p50"] is not None
        assert seconds["p90"] is not None
        assert estimate["gpu_seconds"] == pytest.approx(gpus * seconds["p50"], abs=0.01)
        assert cost["p50"] == pytest.approx(gpus * seconds["p50"] * 0.001, abs=1e-5)
        assert cost["p90"] == pytest.approx(gpus * seconds["p90"] * 0.001, abs=1e-5)
    unknown = replace(dear, usd_per_second=None)
    request = ExportRequest(type="framing", config=config, raw_config={})
    assert (await unknown.estimate("local", request))["cost_usd"] == {"p50": None, "p90": None}


async def test_a_service_that_reads_many_files_refuses_more() -> None:
    config = parse_config("overlay", {"input_key": SOURCE})
    spec = EstimateSpec(
        type="overlay", config=config, sources={SOURCE: LocalFile(path=str(Path("none.mp4")))}
    )
    with pytest.raises(Unavailable) as caught:
        await Prober(max_waiting=0).estimate("ann", spec)
    assert caught.value.headers == {"Retry-After": "2"}
