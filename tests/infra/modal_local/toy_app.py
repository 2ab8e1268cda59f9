"""The app that the tests deploy, and the unmodified SDK and command line at work on a control plane."""

import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import modal
from anyio import run_process
from modal.client import Client
from modal_proto import api_pb2

from infra.modal_local import ModalLocal

PATIENCE_SECONDS = 20.0

APP = '''
import os
import time
from pathlib import Path

import modal

app = modal.App("toy")
image = modal.Image.debian_slim().pip_install("numpy").env({"IN_IMAGE": "an image's"})
common = {"image": image, "gpu": "L4", "timeout": 60, "scaledown_window": 30}


@app.function(**common, retries=0)
def echo(value):
    return value


@app.function(**common)
def surroundings():
    return {
        "call": modal.current_function_call_id(),
        "remote": os.environ["MODAL_IS_REMOTE"],
        "image": os.environ["IN_IMAGE"],
        "secret": os.environ.get("PASSWORD"),
        "credentials": os.environ.get("MODAL_TOKEN_SECRET"),
        "pid": os.getpid(),
    }


@app.function(**common)
def count(to):
    yield from range(to)


@app.function(**common)
def answer(shared_id):
    shared = modal.Dict.from_id(shared_id)
    shared["answer"] = shared["question"] + 1
    shared.put("question", 0, skip_if_exists=True)


@app.function(**common)
def ask(question):
    with modal.Dict.ephemeral() as shared:
        shared["question"] = question
        answer.remote(shared.object_id)
        return {**dict(shared.items()), "nothing": shared.get("nothing")}


@app.function(**common)
def fail(message):
    raise ValueError(message)


@app.function(**common)
def import_service():
    import service


@app.function(**common)
def work(folder):
    """Leave a mark, and go on until a file named `go` is there."""
    mark = Path(folder) / f"run-{os.getpid()}"
    mark.write_text(modal.current_function_call_id())
    try:
        while not (Path(folder) / "go").exists():
            time.sleep(0.01)
    except BaseException as error:
        mark.with_suffix(".interrupted").write_text(type(error).__name__)
        raise
    mark.with_suffix(".done").touch()
    return os.getpid()


@app.function(**common)
def stubborn(folder):
    """Go on when cancelled."""
    try:
        work.local(folder)
    except BaseException:
        (Path(folder) / "call.deaf").touch()
        time.sleep(60)


@app.function(**common | {"max_containers": 1})
def alone(folder):
    return work.local(folder)


@app.function(**common, retries=modal.Retries(max_retries=2, initial_delay=0))
def succeed_at_last(folder):
    tries = len(list(Path(folder).iterdir()))
    (Path(folder) / f"try-{tries}").touch()
    if tries < 2:
        raise RuntimeError("not yet")
    return tries


@app.function(**common | {"timeout": 1})
def overstay():
    time.sleep(60)


@app.local_entrypoint()
def main():
    print("the entry point got", echo.remote("an answer"))
'''


async def modal_cli(plane: ModalLocal, *arguments: str, cwd: Path | None = None, check: bool = True) -> str:
    """Run the `modal` command, and return what it says."""
    done = await run_process(
        [sys.executable, "-m", "modal", *arguments],
        cwd=cwd,
        env=os.environ | plane.environment | {"COLUMNS": "200"},
        check=False,
    )
    said = (done.stdout + done.stderr).decode()
    assert not check or done.returncode == 0, said
    return said


async def deploy(plane: ModalLocal, folder: Path, source: str = APP) -> None:
    """Deploy an app from a file in a folder."""
    (folder / "toy.py").write_text(source)
    await modal_cli(plane, "deploy", "toy.py", cwd=folder)


@asynccontextmanager
async def client_of(plane: ModalLocal, secret: str | None = None) -> AsyncIterator[Client]:
    """Yield a client of its own: that of the environment is one per process."""
    credentials = (plane.environment["MODAL_TOKEN_ID"], secret or plane.environment["MODAL_TOKEN_SECRET"])
    url = plane.environment["MODAL_SERVER_URL"]
    async with Client(url, api_pb2.CLIENT_TYPE_CLIENT, credentials) as client:
        yield client


def function(client: Client, name: str) -> "modal.Function[..., Any, Any]":
    """Return one of the toy app's functions."""
    return modal.Function.from_name("toy", name, client=client)


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Return once the condition holds."""
    with anyio.fail_after(PATIENCE_SECONDS):
        while True:
            holds = condition()
            if holds if isinstance(holds, bool) else await holds:
                return
            await anyio.sleep(0.01)


async def marks(folder: Path, number: int, pattern: str = "run-*[0-9]") -> list[Path]:
    """Wait for so many marks of runs in a folder, and return them."""

    def found() -> list[Path]:
        return sorted(folder.glob(pattern))

    await until(lambda: len(found()) >= number)
    return found()
