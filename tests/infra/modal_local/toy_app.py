"""The app that the tests deploy, and calls of the unmodified SDK and command line."""

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

TIMEOUT_SECONDS = 20.0

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
    import service.app


@app.function(**common)
def work(folder):
    """Write a mark, and run until a file named `go` exists."""
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
    """Continue when cancelled."""
    try:
        work.local(folder)
    except BaseException:
        (Path(folder) / "call.ignored").touch()
        time.sleep(60)


@app.function(**common | {"max_containers": 1})
def alone(folder):
    return work.local(folder)


@app.function(**common, retries=modal.Retries(max_retries=2, initial_delay=0))
def succeed_at_last(folder):
    attempts = len(list(Path(folder).iterdir()))
    (Path(folder) / f"try-{attempts}").touch()
    if attempts < 2:
        raise RuntimeError("not yet")
    return attempts


@app.function(**common | {"timeout": 1})
def overstay():
    time.sleep(60)


@app.local_entrypoint()
def main():
    print("the entry point got", echo.remote("an answer"))
'''


async def run_modal_cli(
    plane: ModalLocal, *arguments: str, cwd: Path | None = None, check: bool = True
) -> str:
    """Run the `modal` command and return its output."""
    process = await run_process(
        [sys.executable, "-m", "modal", *arguments],
        cwd=cwd,
        env=os.environ | plane.environment | {"COLUMNS": "200"},
        check=False,
    )
    output = (process.stdout + process.stderr).decode()
    assert not check or process.returncode == 0, output
    return output


async def deploy(plane: ModalLocal, folder: Path, source: str = APP) -> None:
    """Deploy an app from a file in a folder."""
    (folder / "toy.py").write_text(source)
    await run_modal_cli(plane, "deploy", "toy.py", cwd=folder)


@asynccontextmanager
async def open_client(plane: ModalLocal, secret: str | None = None) -> AsyncIterator[Client]:
    """Yield a new client; the one from the environment exists once per process."""
    credentials = (plane.environment["MODAL_TOKEN_ID"], secret or plane.environment["MODAL_TOKEN_SECRET"])
    url = plane.environment["MODAL_SERVER_URL"]
    async with Client(url, api_pb2.CLIENT_TYPE_CLIENT, credentials) as client:
        yield client


def get_function(client: Client, name: str) -> "modal.Function[..., Any, Any]":
    """Return a function of the toy app."""
    return modal.Function.from_name("toy", name, client=client)


async def wait_until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait until the condition is true."""
    with anyio.fail_after(TIMEOUT_SECONDS):
        while True:
            result = condition()
            if result if isinstance(result, bool) else await result:
                return
            await anyio.sleep(0.01)


async def wait_for_marks(folder: Path, number: int, pattern: str = "run-*[0-9]") -> list[Path]:
    """Wait for this number of marks in a folder and return them."""

    def list_marks() -> list[Path]:
        return sorted(folder.glob(pattern))

    await wait_until(lambda: len(list_marks()) >= number)
    return list_marks()
