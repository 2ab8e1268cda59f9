"""How the Modal runner reads what Modal returns and raises, and how often it is checked."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from callbacks.envelope import Failure, Output
from callbacks.probe import name_probe_function
from gpu.export_types.framing import FramingConfig
from gpu.spec import AttemptSpec, CallbackTarget, LocalFile, RemoteUpload, Transfer
from infra.modal_local import Faults, ModalLocal
from service.clock import Clock
from service.dispatch.runners import Failed, Finished, RunnerReadiness, RunnerRefused, Running, Unknown
from service.dispatch.runners.modal import RELEASE, ModalRunner
from service.dispatch.runners.modal_results import status_from_value
from tests.infra.modal_local.toy_app import run_modal_cli, wait_until

pytestmark = pytest.mark.anyio

OUTPUT = {"size": 5, "checksum": "sha256:" + "0" * 64, "duration": 1.5, "width": 640, "height": 360}
FAILURE = {"code": "no_video_stream", "message": "The source has no video.", "transient": False}
APP = """
import modal

app = modal.App("toy")


@app.function()
def process_video(job_id, user_id, job_type, input_key, output_key, params, callback=None, transfer=None):
    if job_id == "raises":
        raise TimeoutError("not pending, broken")
    return {"gpu_seconds": 1.5, "failure": {"code": "toy", "message": callback["key"]}}
"""


def spec(job_id: str = "job-1") -> AttemptSpec:
    keyframes: Any = [{"time": 0, "x": 0, "y": 0, "width": 320, "height": 180}]
    config = FramingConfig(input_key="a.mp4", keyframes=keyframes)
    return AttemptSpec(
        job_id=job_id,
        attempt=1,
        call_id="modal-job-1-1",
        type="framing",
        config=config,
        transfer=Transfer(
            sources={"a.mp4": LocalFile(path="/a.mp4")},
            output=RemoteUpload(url="http://127.0.0.1:1/output", key="a2V5", attempt=1),
        ),
        callback=CallbackTarget(url="http://127.0.0.1:1/", key="a2V5"),
    )


@pytest.fixture(scope="module")
async def shared_plane(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ModalLocal]:
    folder = tmp_path_factory.mktemp("toy")
    (folder / "toy.py").write_text(APP)
    async with ModalLocal(max_containers=1) as plane:
        await run_modal_cli(plane, "deploy", "toy.py", cwd=folder)
        yield plane


@pytest.fixture
async def plane(shared_plane: ModalLocal, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ModalLocal]:
    for name, value in shared_plane.environment.items():
        if "TOKEN" not in name:
            monkeypatch.setenv(name, value)
    yield shared_plane
    shared_plane.fault_api.set(Faults())


@pytest.fixture
async def runner(plane: ModalLocal) -> AsyncIterator[ModalRunner]:
    """A runner with the token of the settings, which the SDK does not find by itself."""
    token = plane.environment["MODAL_TOKEN_ID"], plane.environment["MODAL_TOKEN_SECRET"]
    modal_runner = ModalRunner("toy", token, spawn_seconds=2)
    yield modal_runner
    await modal_runner.close()


async def wait_ended(runner: ModalRunner, call_id: str) -> object:
    latest: object = Running()

    async def has_ended() -> bool:
        nonlocal latest
        latest = await runner.probe(call_id)
        return not isinstance(latest, Running)

    await wait_until(has_ended)
    return latest


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"output": OUTPUT, "gpu_seconds": 2.0}, Finished(Output(**OUTPUT), 2.0)),  # type: ignore[arg-type]
        ({"failure": FAILURE, "gpu_seconds": 2.0}, Finished(Failure(**FAILURE), 2.0)),  # type: ignore[arg-type]
        ({"status": "error", "code": "stopped"}, "run_lost"),
        ({"status": "error", "code": "unreported"}, "run_lost"),
        ({"status": "error", "code": "invalid_call"}, "function_mismatch"),
        ({}, "run_lost"),
        (None, "function_mismatch"),
        ("done", "function_mismatch"),
        ({"output": {"size": -1}}, "function_mismatch"),
    ],
)
def test_a_call_s_value_tells_how_it_ended(value: object, expected: object) -> None:
    status = status_from_value(value)
    assert expected == (status.code if isinstance(status, Failed) else status)


async def test_a_call_is_spawned_asked_after_and_taken_at_its_word(
    plane: ModalLocal, runner: ModalRunner
) -> None:
    plane.fault_api.set(Faults(hold_calls=True))
    call_id = await runner.spawn(spec())
    assert isinstance(await runner.probe(call_id), Running)
    plane.fault_api.set(Faults())
    assert await wait_ended(runner, call_id) == Finished(Failure(code="toy", message="a2V5"), 1.5)


async def test_a_function_that_raises_a_timeout_does_not_look_pending_for_ever(runner: ModalRunner) -> None:
    status = await wait_ended(runner, await runner.spawn(spec("raises")))
    assert isinstance(status, Failed)
    assert status.code == "run_crashed"


async def test_an_expired_result_and_an_unknown_call_may_be_tried_again(
    plane: ModalLocal, runner: ModalRunner
) -> None:
    call_id = await runner.spawn(spec())
    await wait_ended(runner, call_id)
    plane.fault_api.expire(call_id)
    for status, code in (
        (await runner.probe(call_id), "result_expired"),
        (await runner.probe("fc-00000000000000"), "call_unknown"),
    ):
        assert isinstance(status, Failed)
        assert (status.code, status.transient) == (code, True)


@pytest.mark.parametrize(
    "faults",
    [Faults(refuse_polls="UNAVAILABLE"), Faults(refuse_polls="INTERNAL"), Faults(token_revoked=True)],
)
async def test_what_can_t_be_asked_is_unknown(plane: ModalLocal, runner: ModalRunner, faults: Faults) -> None:
    call_id = await runner.spawn(spec())
    plane.fault_api.set(faults)
    assert isinstance(await runner.probe(call_id), Unknown)


@pytest.mark.parametrize(
    ("faults", "code", "counted"),
    [
        (Faults(refuse_spawns="RESOURCE_EXHAUSTED"), "modal_quota", False),
        (Faults(refuse_spawns="UNAVAILABLE"), "modal_unreachable", False),
        (Faults(spawn_delay_seconds=60), "modal_unreachable", False),
        (Faults(token_revoked=True), "modal_unauthorized", False),
    ],
)
async def test_a_spawn_is_refused_with_a_code_and_a_sentence(
    plane: ModalLocal, runner: ModalRunner, faults: Faults, code: str, counted: bool
) -> None:
    plane.fault_api.set(faults)
    with pytest.raises(RunnerRefused) as refused:
        await runner.spawn(spec())
    assert (refused.value.code, refused.value.counted) == (code, counted)
    assert plane.environment["MODAL_TOKEN_SECRET"] not in str(refused.value)


async def test_an_app_that_was_stopped_and_deployed_anew_is_found_again(
    plane: ModalLocal, runner: ModalRunner, tmp_path: Path
) -> None:
    await runner.spawn(spec())
    await run_modal_cli(plane, "app", "stop", "toy", "--yes")
    with pytest.raises(RunnerRefused) as refused:
        await runner.spawn(spec())
    assert (refused.value.code, refused.value.counted) == ("modal_app_missing", False)
    (tmp_path / "toy.py").write_text(APP)
    await run_modal_cli(plane, "deploy", "toy.py", cwd=tmp_path)
    assert (await runner.spawn(spec())).startswith("fc-")


async def test_an_app_of_another_release_is_noticed_and_logged_once(
    runner: ModalRunner, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        await runner.check()
    assert runner.notice is not None
    assert runner.notice.code == "modal_release_differs"
    assert [record.getMessage() for record in caplog.records].count(runner.notice.message) == 1
    assert "from another release than this service" in runner.notice.message
    assert "Run `framehook modal deploy`" in runner.notice.message


async def test_an_app_that_is_deployed_from_another_release_beside_the_service_is_noticed(
    plane: ModalLocal, runner: ModalRunner, tmp_path: Path
) -> None:
    own = f"{APP}\n\n@app.function(name={name_probe_function(RELEASE)!r})\ndef probe(target):\n    pass\n"
    notices = []
    for source in (own, APP, own):
        (tmp_path / "toy.py").write_text(source)
        await run_modal_cli(plane, "deploy", "toy.py", cwd=tmp_path)
        await runner.check()
        notices.append(runner.notice and runner.notice.code)
    assert notices == [None, "modal_release_differs", None]


async def test_however_often_probes_come_the_runner_is_asked_every_few_seconds(runner: ModalRunner) -> None:
    now, check_count = 100.0, 0

    class CountingRunner(ModalRunner):
        async def check(self) -> None:
            nonlocal check_count
            check_count += 1
            raise RunnerRefused("modal_unreachable", "Modal can't be reached.", transient=True)

    check = RunnerReadiness(CountingRunner("toy"), Clock(monotonic=lambda: now))
    for now in (100.0, 104.9, 105.0):  # noqa: B007 - the clock reads it
        problem = await check.problem()
        assert problem is not None
    assert check_count == 2
