"""Run scripts in Node as a page would: with the client, a `localStorage` that survives, and faults of the network."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.npm.node_runtime import NODE

CLIENT = Path(__file__).parents[3] / "service" / "web" / "framehook.js"
TIMEOUT_SECONDS = 90
PRELUDE = """
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createClient, hasEnded, FramehookProblem } from "%(client)s";

const baseUrl = "http://%(address)s";
const print = (value) => console.log(JSON.stringify(value));
const stored = existsSync("storage.json") ? JSON.parse(readFileSync("storage.json")) : {};
const save = () => writeFileSync("storage.json", JSON.stringify(stored));
const localStorage = {
  getItem: (key) => stored[key] ?? null,
  setItem: (key, value) => { stored[key] = value; save(); },
  removeItem: (key) => { delete stored[key]; save(); },
};
Object.defineProperty(globalThis, "localStorage", { value: localStorage });
const calls = [];
const realFetch = globalThis.fetch;
let fail = () => undefined; // may return a response, or throw
globalThis.fetch = async (url, call = {}) => {
  const answer = fail(String(url), call);
  calls.push(`${call.method ?? "GET"} ${new URL(url).pathname}`);
  return answer ?? realFetch(url, call);
};
"""


@dataclass(frozen=True)
class NodePage:
    """A folder in which scripts run one after the other, as after reloads of a page."""

    address: str
    folder: Path

    async def run(self, script: str) -> list[Any]:
        """Run a script to its end, which comes by itself, and return what it printed."""
        async with self.start(script) as lines:
            return [line async for line in lines]

    @asynccontextmanager
    async def start(self, script: str) -> AsyncIterator[AsyncIterator[Any]]:
        """Run a script, and give the values that it prints."""
        path = self.folder / "page.mjs"
        path.write_text(PRELUDE % {"client": CLIENT.as_uri(), "address": self.address} + script)
        process = await asyncio.create_subprocess_exec(
            NODE, path, cwd=self.folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            yield _read_values(process)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def _read_values(process: asyncio.subprocess.Process) -> AsyncIterator[Any]:
    assert process.stdout is not None
    assert process.stderr is not None
    async with asyncio.timeout(TIMEOUT_SECONDS):
        async for line in process.stdout:
            yield json.loads(line)
        errors = await process.stderr.read()
        assert await process.wait() == 0, errors.decode()
