"""What every runner does: the one for this machine, the one for Modal, and the fake that tests use."""

import base64
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from gpu.spec import AttemptSpec, CallbackTarget, RemoteUpload
from infra.modal_local import ModalLocal
from service.dispatch.runners import (
    Failed,
    Finished,
    LocalRunner,
    Runner,
    RunnerReadiness,
    RunnerRefused,
    Running,
)
from service.dispatch.runners.modal import ModalRunner
from service.workers.starter import WorkerStarter
from tests.callbacks.scripted_server import KEY, receiver
from tests.gpu.run_pipeline import STILL, attempt_spec
from tests.infra.modal_local.toy_app import run_modal_cli, wait_until
from tests.support.fakes import FakeRunner
from tests.support.videos import Video, dot, frame_times, write_video

pytestmark = pytest.mark.anyio

APP = """
import time

import modal

app = modal.App("endless")


@app.function()
def process_video(job_id, user_id, job_type, input_key, output_key, params, callback=None, transfer=None):
    time.sleep(3_600)
"""


@dataclass(frozen=True)
class Case:
    """A runner, another one as the next process of the service would open it, and an export without an end."""

    runner: Runner
    reopen: Callable[[], Runner]
    endless: AttemptSpec

    def spec(self, job_id: str) -> AttemptSpec:
        call_id = self.runner.call_id_for(job_id, 1)
        return self.endless.model_copy(update={"job_id": job_id, "call_id": call_id})


def endless_export(folder: Path, callback_url: str) -> AttemptSpec:
    """Return the spec of an export that takes far longer than a test."""
    source = write_video(folder / "source.mp4", Video(draw=lambda _: dot(160, 90), times=frame_times(1)))
    spec = attempt_spec(
        source, folder / "output.mp4", keyframes=STILL, output_width=4096, quality="high", fps=240
    )
    return spec.model_copy(
        update={"callback": CallbackTarget(url=callback_url, key=base64.b64encode(KEY).decode())}
    )


@pytest.fixture(scope="module")
async def plane(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ModalLocal]:
    folder = tmp_path_factory.mktemp("endless")
    (folder / "endless.py").write_text(APP)
    async with ModalLocal(max_containers=2) as plane:
        await run_modal_cli(plane, "deploy", "endless.py", cwd=folder)
        yield plane


@pytest.fixture(params=["local", "forked", "modal", "fake"])
async def case(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    plane: ModalLocal,
    forking_starter: WorkerStarter,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Case]:
    async with AsyncExitStack() as stack:
        service = stack.enter_context(receiver())
        endless = endless_export(tmp_path, service.url)
        if request.param == "local":
            runner: Runner = LocalRunner(tmp_path / "scratch", 2)
            yield Case(runner, lambda: LocalRunner(tmp_path / "scratch", 2), endless)
        elif request.param == "forked":
            runner = LocalRunner(tmp_path / "scratch", 2, starter=forking_starter)
            yield Case(runner, lambda: LocalRunner(tmp_path / "scratch", 2), endless)
        elif request.param == "modal":
            for name, value in plane.environment.items():
                if "TOKEN" not in name:
                    monkeypatch.setenv(name, value)
            token = plane.environment["MODAL_TOKEN_ID"], plane.environment["MODAL_TOKEN_SECRET"]
            output = RemoteUpload(url="http://127.0.0.1:1/output", key="a2V5", attempt=1)
            remote = endless.transfer.model_copy(update={"output": output})
            runner = ModalRunner("endless", token, gpu="L4")
            yield Case(
                runner,
                lambda: ModalRunner("endless", token),
                endless.model_copy(update={"transfer": remote}),
            )
        else:
            runner = fake = FakeRunner()
            yield Case(runner, lambda: fake, endless)
        await runner.close()


async def cancel_and_wait(runner: Runner, call_id: str) -> None:
    """Cancel a call and wait until a probe knows that it has ended."""

    async def has_ended() -> bool:
        return isinstance(await runner.probe(call_id), Failed)

    await runner.cancel(call_id)
    await wait_until(has_ended)


async def test_a_runner_states_its_facts_before_anything_runs(case: Case) -> None:
    assert case.runner.name
    assert case.runner.capacity() > 0
    assert case.runner.call_id_for("job-1", 2).startswith(case.runner.instance)
    assert case.runner.call_id_for("job-1", 2) != case.runner.call_id_for("job-1", 1)
    assert case.runner.drain_ended() == []
    assert (case.runner.gpu is None) is case.runner.shares_filesystem
    assert await RunnerReadiness(case.runner).problem() is None


async def test_a_spawned_call_runs_until_it_is_cancelled(case: Case) -> None:
    call_id = await case.runner.spawn(case.spec("job-1"))
    assert isinstance(await case.runner.probe(call_id), Running)
    await cancel_and_wait(case.runner, call_id)
    status = await case.runner.probe(call_id)
    assert isinstance(status, Failed)
    assert (status.transient, bool(status.message)) == (True, True)
    await case.runner.cancel(call_id)


async def test_calls_are_cancelled_one_by_one(case: Case) -> None:
    first, second = [await case.runner.spawn(case.spec(job_id)) for job_id in ("job-1", "job-2")]
    assert first != second
    await cancel_and_wait(case.runner, first)
    assert isinstance(await case.runner.probe(second), Running)
    await cancel_and_wait(case.runner, second)


async def test_to_spawn_an_attempt_twice_does_not_harm_the_first_call(case: Case, tmp_path: Path) -> None:
    first = await case.runner.spawn(case.spec("job-1"))
    scratch = tmp_path / "scratch" / first
    had_scratch = scratch.exists()
    with suppress(RunnerRefused):
        second = await case.runner.spawn(case.spec("job-1"))
        if second != first:
            await cancel_and_wait(case.runner, second)
    assert isinstance(await case.runner.probe(first), Running)
    assert scratch.exists() is had_scratch
    await cancel_and_wait(case.runner, first)


async def test_an_unknown_call_has_no_result_and_can_be_cancelled(case: Case) -> None:
    assert not isinstance(await case.runner.probe("fc-00000000000000"), Finished)
    with suppress(RunnerRefused):
        await case.runner.cancel("fc-00000000000000")


async def test_closing_a_runner_ends_its_calls_unless_they_outlive_it(case: Case) -> None:
    call_id = await case.runner.spawn(case.spec("job-1"))
    await case.runner.close()
    reopened = case.reopen()
    status = await reopened.probe(call_id)
    assert isinstance(status, Failed if case.runner.instance else Running)
    await reopened.cancel(call_id)
    await reopened.close()
