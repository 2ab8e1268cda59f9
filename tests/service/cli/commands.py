"""Run `framehook` commands in this process, against a service or none."""

import asyncio
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from framehook import Client
from service.cli.main import app
from tests.support.fakes import FakeRun
from tests.support.live_server import FRAMING, LiveServer
from tests.support.small_mp4 import make_video

CONTENT = make_video(b"the exported video")


@dataclass(frozen=True)
class CommandResult:
    """Exit status and output of a command."""

    status: int
    out: str
    err: str


def run(*words: str | Path, stdin: str = "", **environment: str) -> CommandResult:
    """Run a command; nothing may reach its caller but an exit status."""
    known = {"FRAMEHOOK_URL": "http://127.0.0.1:9", "COLUMNS": "200", "FRAMEHOOK_TOKEN": ""}
    result = CliRunner().invoke(app, [str(word) for word in words], env=known | environment, input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return CommandResult(result.exit_code, result.stdout, result.stderr)


async def run_on(server: LiveServer, *words: str | Path, stdin: str = "") -> CommandResult:
    """Run a command that asks this service."""
    return await asyncio.to_thread(run, *words, stdin=stdin, FRAMEHOOK_URL=server.url)


async def run_json(server: LiveServer, *words: str | Path) -> Any:
    """Run a command with --json, which succeeds, and return its output."""
    result = await run_on(server, *words, "--json")
    assert result.status == 0, result.err
    return json.loads(result.out)


def export_command(source: Path, *more: str | Path) -> tuple[str | Path, ...]:
    """Return the words of a command that exports this file."""
    return ("export", source, "--type", "framing", "--config", json.dumps(FRAMING), *more)


async def submit_export(server: LiveServer, source: Path, *more: str) -> str:
    """Create an export, with a command if there are words for one, and return its id."""
    if more:
        return str((await run_json(server, *export_command(source, *more)))["job_id"])

    def submit() -> str:
        with Client(server.url) as client:
            return client.create_export("framing", {**FRAMING, "input_key": client.upload(source)}).job_id

    return await asyncio.to_thread(submit)


async def complete(server: LiveServer, run: FakeRun) -> None:
    """Report that a run has written CONTENT."""
    server.write_output(run, CONTENT)
    checksum = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
    assert (await run.report_completed(size=len(CONTENT), checksum=checksum)).status_code == 200
