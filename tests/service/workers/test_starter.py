"""Worker processes are forked where possible, and started as interpreters where not; either way they are the same."""

import asyncio
import json
import logging
import os
import resource
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gpu.spec import LocalFile
from service.workers.fork_server import UNKNOWN_STATUS, ForkServerLost
from service.workers.process import WorkerProcess
from service.workers.starter import WorkerStarter
from tests.gpu.sources.stream_films import VideoSpec, write_streams
from tests.support.service_process import wait_until
from tests.support.workers.processes import find_parent, is_alive, list_open_files, read_environment
from tests.support.workers.starters import open_starter

pytestmark = pytest.mark.anyio

DESCRIBE = "gpu.sources.describe"
SECRETS = ("CALLBACK_SECRET", "R2_SECRET_ACCESS_KEY", "AUTH_JWT_SECRET", "DATABASE_URL")


@pytest.fixture
async def starter() -> AsyncIterator[WorkerStarter]:
    async with open_starter() as starter:
        yield starter


@pytest.fixture(params=["forked", "interpreter"])
async def any_starter(request: pytest.FixtureRequest) -> AsyncIterator[WorkerStarter]:
    if request.param == "interpreter":
        yield WorkerStarter()
        return
    async with open_starter() as starter:
        yield starter


def server_pid(starter: WorkerStarter) -> int:
    assert starter._server is not None
    return starter._server._process.pid


async def describe(process: WorkerProcess, film: Path) -> dict[str, object]:
    """Let the process describe a film, and end it."""
    assert process.stdout is not None
    process.stdin.write(LocalFile(path=str(film)).model_dump_json().encode() + b"\n")
    answer: dict[str, object] = json.loads(await process.stdout.readline())
    await end(process)
    return answer


async def end(process: WorkerProcess) -> int:
    """Close the process's input, read what it writes to its end, and return its status."""
    process.stdin.close()
    for stream in filter(None, (process.stdout, process.stderr)):
        await stream.read()
    return await process.wait()


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_streams(tmp_path_factory.mktemp("film") / "film.mp4", VideoSpec(90))


async def test_a_forked_process_is_a_child_of_the_fork_server_and_leads_a_session(
    starter: WorkerStarter, film: Path
) -> None:
    process = await starter.start(DESCRIBE, has_output=True)
    assert find_parent(process.pid) == server_pid(starter)
    assert os.getsid(process.pid) == os.getpgid(process.pid) == process.pid
    assert "source" in await describe(process, film)


async def test_a_process_has_its_streams_and_what_it_keeps_open_and_nothing_else(
    any_starter: WorkerStarter, tmp_path: Path, film: Path
) -> None:
    with (tmp_path / "lock").open("w") as lock:
        first = await any_starter.start(DESCRIBE, has_output=True)
        process = await any_starter.start(DESCRIBE, has_output=True, kept_open=[lock.fileno()])
        files: list[str] = []

        def has_four_files() -> bool:  # an interpreter that starts opens its modules one after the other
            files[:] = [str(path) for path in list_open_files(process.pid)]
            return len(files) == 4

        await wait_until(has_four_files)
    assert [file for file in files if not file.startswith(("pipe:", "socket:"))] == [str(tmp_path / "lock")]
    assert "source" in await describe(process, film)
    assert "source" in await describe(first, film)


async def test_a_fork_server_keeps_nothing_open_of_the_processes_that_have_ended(
    starter: WorkerStarter, tmp_path: Path, film: Path
) -> None:
    before = list_open_files(server_pid(starter))
    with (tmp_path / "lock").open("w") as lock:
        for _ in range(3):
            await describe(await starter.start(DESCRIBE, has_output=True, kept_open=[lock.fileno()]), film)
    assert sorted(list_open_files(server_pid(starter))) == sorted(before)


async def test_no_secret_of_the_service_is_in_the_environment_of_a_process(
    monkeypatch: pytest.MonkeyPatch, film: Path
) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, "hunter2")
    async with open_starter() as starter:
        process = await starter.start(DESCRIBE, has_output=True)
        for pid in (process.pid, server_pid(starter)):
            environment = read_environment(pid)
            assert b"PATH=" in environment
            assert b"hunter2" not in environment
        await describe(process, film)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM], ids=lambda it: it.name)
async def test_the_signal_that_ends_a_process_is_its_status(
    any_starter: WorkerStarter, number: signal.Signals
) -> None:
    process = await any_starter.start(DESCRIBE, has_output=True)
    os.kill(process.pid, number)
    assert await end(process) == -number
    assert not is_alive(process.pid)


async def test_a_signal_to_all_processes_of_the_service_does_not_end_the_fork_server(
    starter: WorkerStarter, film: Path
) -> None:
    os.kill(server_pid(starter), signal.SIGTERM)
    os.kill(server_pid(starter), signal.SIGINT)
    process = await starter.start(DESCRIBE, has_output=True)
    assert find_parent(process.pid) == server_pid(starter)
    await describe(process, film)


async def test_processes_outlive_a_fork_server_that_is_killed_and_the_next_is_an_interpreter(
    starter: WorkerStarter, film: Path, caplog: pytest.LogCaptureFixture
) -> None:
    alive, killed = [await starter.start(DESCRIBE, has_output=True) for _ in range(2)]
    os.kill(server_pid(starter), signal.SIGKILL)
    await wait_until(lambda: not starter.can_fork)
    os.kill(killed.pid, signal.SIGKILL)
    assert await end(killed) == UNKNOWN_STATUS
    assert "source" in await describe(alive, film)
    assert await alive.wait() == UNKNOWN_STATUS
    process = await starter.start(DESCRIBE, has_output=True)
    assert find_parent(process.pid) == os.getpid()
    assert "source" in await describe(process, film)
    await wait_until(lambda: caplog.records)
    [record] = caplog.records
    assert record.getMessage().startswith("the fork server ended: exit status -9; for 3600 s")


async def test_a_fork_server_that_is_killed_is_replaced(film: Path) -> None:
    async with open_starter(pause_seconds=0) as starter:
        first = server_pid(starter)
        os.kill(first, signal.SIGKILL)
        await wait_until(lambda: server_pid(starter) != first and starter.can_fork)
        process = await starter.start(DESCRIBE, has_output=True)
        assert find_parent(process.pid) == server_pid(starter)
        await describe(process, film)


async def test_a_process_that_is_requested_of_a_dying_fork_server_fails_to_start(
    starter: WorkerStarter,
) -> None:
    os.kill(server_pid(starter), signal.SIGSTOP)
    starting = asyncio.create_task(starter.start(DESCRIBE, has_output=True))
    await asyncio.sleep(0.1)
    os.kill(server_pid(starter), signal.SIGKILL)
    with pytest.raises(ForkServerLost):
        await starting


async def test_the_end_of_a_process_is_known_though_the_fork_server_is_stuck(starter: WorkerStarter) -> None:
    process = await starter.start(DESCRIBE, has_output=True)
    os.kill(server_pid(starter), signal.SIGSTOP)
    os.kill(process.pid, signal.SIGTERM)
    assert await end(process) == UNKNOWN_STATUS


async def test_a_type_of_an_installed_package_is_found_by_a_forked_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_package(tmp_path)
    (tmp_path / "notes.txt").write_text("NOTES of the match")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    async with open_starter() as starter:
        process = await starter.start("gpu.export_types.inspect_output", "notes", has_output=True)
        assert await describe(process, tmp_path / "notes.txt") == {"source": {}}


def write_package(folder: Path) -> None:
    """Write an installed package with the export type `notes`, whose files begin with NOTES."""
    export_type = (
        "ExportType(name='notes', description='', config=ExportConfig, plan=None, content_type='text/plain',"
        " suffix='.txt', magic=b'NOTES')"
    )
    imports = "from gpu.config import ExportConfig\nfrom gpu.export_types.base import ExportType\n"
    (folder / "notes_type.py").write_text(f"{imports}EXPORT_TYPE = {export_type}\n")
    metadata = folder / "notes_type-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: notes-type\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[framehook.export_types]\nnotes = notes_type:EXPORT_TYPE\n")


async def test_a_process_whose_start_was_cancelled_ends_by_itself(
    starter: WorkerStarter, tmp_path: Path, film: Path
) -> None:
    before = list_open_files(server_pid(starter))
    os.kill(server_pid(starter), signal.SIGSTOP)
    starting = asyncio.create_task(
        starter.start("gpu.worker", "--end-with-stdin", "--scratch", str(tmp_path / "run"))
    )
    await asyncio.sleep(0.1)
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    os.kill(server_pid(starter), signal.SIGCONT)
    await describe(
        await starter.start(DESCRIBE, has_output=True), film
    )  # the answers still match the requests
    await wait_until(lambda: sorted(list_open_files(server_pid(starter))) == sorted(before))


async def test_where_a_fork_fails_an_interpreter_is_started_and_the_log_says_why(
    starter: WorkerStarter, film: Path, caplog: pytest.LogCaptureFixture
) -> None:
    used = len(list_open_files(server_pid(starter)))
    resource.prlimit(server_pid(starter), resource.RLIMIT_NOFILE, (used + 1, used + 1))
    process = await starter.start(DESCRIBE, has_output=True)
    assert find_parent(process.pid) == os.getpid()
    assert "source" in await describe(process, film)
    [record] = caplog.records
    assert record.getMessage() == (
        "a process could not be forked: too many files are open; starting an interpreter"
    )


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("raise RuntimeError('no such chip')", "no such chip"),
        (
            "import threading, time\nthreading.Thread(target=time.sleep, args=(9,), daemon=True).start()",
            "thread",
        ),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", "exit status -11"),
    ],
    ids=["it raises", "it starts a thread", "it crashes"],
)
async def test_where_a_module_prevents_a_fork_server_interpreters_are_started(
    module: str,
    reason: str,
    tmp_path: Path,
    film: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    (tmp_path / "httpcore.py").write_text(module)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    starter = WorkerStarter()
    running = asyncio.create_task(starter.run())
    await wait_until(lambda: "the fork server ended" in caplog.text)
    running.cancel()
    assert reason in caplog.text
    assert not starter.can_fork
    assert "source" in await describe(await starter.start(DESCRIBE, has_output=True), film)
    await starter.close()
