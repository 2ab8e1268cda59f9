"""The JavaScript clients of the streams guide, run as they are written there in Node and Chromium."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from playwright.async_api import BrowserContext

from tests.docs.markdown import GUIDES, read_blocks
from tests.javascript.proxied_service import ProxiedService
from tests.support.fakes import FakeRun
from tests.support.npm.node_runtime import NODE, run_program

WAIT_SECONDS = 60
TICKETS = "get-ticket.js"


@dataclass
class Watching:
    """A running client: the states that it has shown, its messages, and how it ended."""

    states: list[dict[str, Any]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    exit_status: int | None = None
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def note(self, change: Callable[[], object]) -> None:
        async with self._changed:
            change()
            self._changed.notify_all()

    async def wait_for(self, holds: Callable[["Watching"], bool]) -> None:
        async with self._changed:
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    await self._changed.wait_for(lambda: holds(self))
            except TimeoutError:
                raise AssertionError((self.states, self.complaints, self.exit_status)) from None

    @property
    def sequences(self) -> list[int]:
        """The sequences in the order shown, each once, as the guide says: what is not greater is ignored."""
        newest: list[int] = []
        for state in self.states:
            if not newest or state["sequence"] > newest[-1]:
                newest.append(state["sequence"])
        return newest


def read_snippet(name: str) -> str:
    """Return the block of the guide with this file name."""
    blocks = read_blocks(GUIDES / "streams.md")
    [text] = [block.text for block in blocks if block.file_name == name]
    return text


def write_client(folder: Path, name: str, *, show: str, **constants: str) -> Path:
    """Write the snippet to a file, after the names that the guide says it uses."""
    lines = [f"const {name} = {json.dumps(value)};" for name, value in constants.items()]
    path = folder / Path(name).with_suffix(".mjs")
    path.write_text("\n".join([*lines, show, read_snippet(TICKETS), read_snippet(name)]))
    return path


@asynccontextmanager
async def run_in_node(script: Path, *flags: str) -> AsyncIterator[Watching]:
    """Run a client in Node."""
    async with run_client(NODE, *flags, script) as watching:
        yield watching


@asynccontextmanager
async def run_client(program: str | Path, *arguments: str | Path) -> AsyncIterator[Watching]:
    """Run a client as a process, which shows states as lines of JSON."""
    process = await asyncio.create_subprocess_exec(
        program, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    watching = Watching()

    async def read_states() -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            await watching.note(partial(watching.states.append, json.loads(line)))
        status = await process.wait()
        await watching.note(lambda: setattr(watching, "exit_status", status))

    async def read_complaints() -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            await watching.note(partial(watching.complaints.append, line.decode().strip()))

    async with asyncio.TaskGroup() as readers:
        readers.create_task(read_states())
        readers.create_task(read_complaints())
        try:
            yield watching
        finally:
            with suppress(ProcessLookupError):
                process.kill()


@asynccontextmanager
async def run_in_page(script: Path, context: BrowserContext, page_origin: str) -> AsyncIterator[Watching]:
    """Run a client in a page of another origin."""
    folder = script.parent
    run_program(folder, "esbuild", script.name, "--bundle", "--outfile=client.js", "--log-level=error")
    (folder / "index.html").write_text('<!doctype html><script src="client.js"></script>')
    watching = Watching()
    page = await context.new_page()
    page.on("pageerror", lambda error: watching.note(partial(watching.complaints.append, str(error))))
    await page.expose_function(
        "report", lambda state: watching.note(lambda: watching.states.append(json.loads(state)))
    )
    await page.goto(f"{page_origin}/index.html")
    try:
        yield watching
    finally:
        await page.close()


async def follow_past_a_cut(service: ProxiedService, run: FakeRun, watching: Watching) -> None:
    """Report a run to its end, with a cut of all connections on the way, while a client follows."""
    await watching.wait_for(lambda watching: len(watching.states) > 0)
    await run.report_started()
    await run.report_progress(20)
    await watching.wait_for(lambda watching: watching.states[-1]["progress"] == 20)
    service.proxy.cut()
    await run.report_progress(60)
    await watching.wait_for(lambda watching: watching.states[-1]["progress"] == 60)
    await run.report_failed()
    await watching.wait_for(lambda watching: watching.states[-1]["status"] == "error")
