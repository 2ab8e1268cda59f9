"""The command line against the service on a real socket: output, errors and exit status."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from framehook import Client
from tests.service.cli.commands import (
    CONTENT,
    CommandResult,
    complete,
    export_command,
    run,
    run_json,
    run_on,
    submit_export,
)
from tests.support.fakes import FakeRun
from tests.support.live_server import FRAMING, DurableRunner, LiveServer, free_port, serve_app, settings_on


async def test_an_export_is_submitted_with_the_key_of_the_upload(server: LiveServer, source: Path) -> None:
    result = await run_on(server, *export_command(source))
    run = await server.next_run()
    assert result.status == 0
    assert result.out.startswith(f"Export {run.spec.job_id} is pending. Watch it: framehook watch")
    assert run.spec.config.input_key.endswith("/match.mp4")


async def test_a_watched_export_is_shown_and_downloaded(
    server: LiveServer, source: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out.mp4"
    config = tmp_path / "framing.json"
    config.write_text(json.dumps(FRAMING))
    words = ("export", source, "--type", "framing", "--config", config, "--output", target)
    command = asyncio.create_task(run_on(server, *words))
    run = await server.next_run()
    await run.report_progress(42)
    await complete(server, run)
    result = await command
    assert (result.status, target.read_bytes()) == (0, CONTENT)
    assert result.out == f"The export is complete: 640x360, 1.5 s, {len(CONTENT)} bytes. Saved to {target}.\n"
    assert "done        100.0 %" in result.err


async def test_json_output_has_a_line_per_state(server: LiveServer, source: Path) -> None:
    command = asyncio.create_task(run_on(server, *export_command(source, "--watch", "--json")))
    run = await server.next_run()
    await complete(server, run)
    result = await command
    states = [json.loads(line) for line in result.out.splitlines()]
    assert (result.status, result.err) == (0, "")
    assert (states[-1]["status"], states[-1]["output"]["size"]) == ("complete", len(CONTENT))
    assert [state["sequence"] for state in states] == sorted({state["sequence"] for state in states})


async def test_a_failed_export_is_reported_in_a_sentence(server: LiveServer, source: Path) -> None:
    job_id = await submit_export(server, source)
    await (await server.next_run()).report_failed()
    result = await run_on(server, "watch", job_id)
    assert (result.status, result.out) == (1, "")
    assert result.err.startswith("  failed ")
    assert result.err.endswith("framehook: The export failed: The file holds no video. (no_video)\n")


async def test_an_export_is_cancelled_and_retried(server: LiveServer, source: Path) -> None:
    job_id = await submit_export(server, source)
    cancelled = await run_on(server, "cancel", job_id)
    watched = await run_on(server, "watch", job_id, "--json")
    again = await run_on(server, "retry", job_id)
    twice = await run_on(server, "retry", job_id)
    assert (cancelled.status, cancelled.out) == (0, f"Export {job_id} is cancelled.\n")
    assert (watched.status, watched.err) == (1, "framehook: The export was cancelled.\n")
    assert (again.status, again.out.split(". ")[0]) == (0, f"Export {job_id} is pending again")
    assert (twice.status, twice.err) == (4, "framehook: Only a failed or cancelled export can be retried.\n")


async def test_an_export_is_named_by_the_id_that_its_client_chose(server: LiveServer, source: Path) -> None:
    await submit_export(server, source)
    config = {**FRAMING, "input_key": (await server.next_run()).spec.config.input_key}
    body = {"type": "framing", "config": config, "export_id": "export-of-a-page"}
    job = (await server.http.post("/api/exports", json=body)).json()
    cancelled = await run_on(server, "cancel", "export-of-a-page")
    assert cancelled.out == f"Export {job['job_id']} is cancelled.\n"
    retried = await run_on(server, "retry", "export-of-a-page")
    assert retried.out.startswith(f"Export {job['job_id']} is pending again.")
    await run_on(server, "cancel", "export-of-a-page")
    watched = await run_on(server, "watch", "export-of-a-page")
    assert watched.status == 1
    assert watched.err.endswith("framehook: The export was cancelled.\n")


async def test_a_retry_is_watched_to_its_end(server: LiveServer, source: Path) -> None:
    job_id = await submit_export(server, source)
    await run_on(server, "cancel", job_id)
    await server.next_run()
    command = asyncio.create_task(run_on(server, "retry", job_id, "--watch"))
    await complete(server, await server.next_run())
    assert (await command).status == 0


async def test_a_list_shows_the_requested_exports(server: LiveServer, source: Path) -> None:
    empty = await run_on(server, "list")
    first, second = await submit_export(server, source), await submit_export(server, source)
    await run_on(server, "cancel", first)
    everything = await run_on(server, "list")
    cancelled = json.loads((await run_on(server, "list", "--status", "cancelled", "--json")).out)
    newest = json.loads((await run_on(server, "list", "--limit", "1", "--json")).out)
    assert empty.out == "There are no exports.\n"
    assert [line.split()[:2] for line in everything.out.splitlines()[1:]] == [
        [second, "framing"],
        [first, "framing"],
    ]
    assert [export["job_id"] for export in cancelled["exports"]] == [first]
    assert [export["job_id"] for export in newest["exports"]] == [second]


async def test_a_rejection_shows_the_invalid_fields(server: LiveServer, source: Path) -> None:
    result = await run_on(
        server, "export", source, "--type", "framing", "--config", '{"fps": 0, "keyframes": []}'
    )
    assert result.status == 2
    first, second = result.err.splitlines()[-2:]
    assert first.startswith("framehook: config.fps: ")
    assert second.startswith("  config.keyframes: ")


async def test_an_unknown_export_is_reported_in_a_sentence(server: LiveServer) -> None:
    for command in ("show", "watch", "download", "cancel", "retry"):
        result = await run_on(server, command, "unknown")
        assert result == CommandResult(3, "", "framehook: The export does not exist.\n")


async def test_ctrl_c_leaves_the_export_running(server: LiveServer, source: Path) -> None:
    job_id = await submit_export(server, source)
    run = await server.next_run()
    await run.report_progress(42)
    command = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "service.cli.main", "watch", job_id, "--server", server.url),
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stderr=asyncio.subprocess.PIPE,
    )
    assert command.stderr is not None
    seen = await command.stderr.readline()
    command.send_signal(signal.SIGINT)
    rest = (await command.stderr.read()).decode()
    with Client(server.url) as client:
        job = await asyncio.to_thread(client.get, job_id)
    assert (await command.wait(), b"42.0 %" in seen, job.status) == (130, True, "processing")
    assert "the export is still running" in rest
    assert f"framehook cancel {job_id} --server {server.url}" in rest
    assert "Traceback" not in rest


async def test_a_restart_is_reported_once(data_dir: Path, source: Path) -> None:
    settings, runner = settings_on(free_port(), data_dir), DurableRunner()
    async with serve_app(settings, runner) as server:
        job_id = await submit_export(server, source)
        run = await server.next_run()
        await run.report_progress(42)
        command = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "service.cli.main", "watch", job_id, "--server", server.url),
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stderr=asyncio.subprocess.PIPE,
        )
        assert command.stderr is not None
        first = await command.stderr.readline()
    lost = await command.stderr.readline()
    async with serve_app(settings, runner) as server:
        again = FakeRun(run.spec, server.http)
        again.step = run.step
        await complete(server, again)
        rest = (await command.stderr.read()).decode()
    assert (await command.wait(), b"42.0 %" in first, b"Connection lost" in lost) == (0, True, True)
    assert "Connection lost" not in rest


BAD = {
    "no file": (["export", "none.mp4", "--type", "overlay"], "framehook: file none.mp4 does not exist"),
    "no configuration": (
        ["export", "{source}", "--type", "overlay", "--config", "none.json"],
        "framehook: none.json: no such file or directory",
    ),
    "no JSON": (
        ["export", "{source}", "--type", "overlay", "--config", '{"fps": }'],
        "framehook: --config is not valid JSON: expecting value at line 1, column 9",
    ),
    "not a number": (
        ["export", "{source}", "--type", "overlay", "--config", '{"fps": NaN}'],
        "framehook: --config is not valid JSON",
    ),
    "no folder to save to": (
        ["export", "{source}", "--type", "overlay", "-o", "none/out.mp4"],
        "framehook: folder none does not exist",
    ),
    "no URL": (["watch", "job", "--server", "nowhere"], "framehook: the URL of the service must look like"),
    "no token": (["watch", "job", "--token", "a b"], "framehook: the token contains invalid characters"),
}


@pytest.mark.parametrize(("words", "expected"), BAD.values(), ids=BAD.keys())
def test_an_error_is_reported_in_one_sentence(words: list[str], expected: str, source: Path) -> None:
    result = run(*(word.replace("{source}", str(source)) for word in words))
    assert (result.status, result.out, result.err.count("\n")) == (2, "", 1)
    assert result.err.startswith(expected)


@pytest.mark.parametrize("words", ["list", "show job", "uploads list", "webhooks list"])
def test_a_service_that_does_not_run_is_reported_with_how_to_start_it(words: str) -> None:
    sentence = "http://127.0.0.1:9 can't be reached: connection refused; start it with `framehook serve`"
    result = run(*words.split())
    assert (result.status, result.out, result.err.count("\n")) == (5, "", 1)
    assert result.err.startswith(f"framehook: {sentence}")


def test_a_configuration_that_is_not_an_object_is_rejected(source: Path, tmp_path: Path) -> None:
    config = tmp_path / "list.json"
    config.write_text("[1]")
    result = run("export", source, "--type", "overlay", "--config", config)
    assert result == CommandResult(2, "", f"framehook: {config} is not a JSON object\n")


async def test_a_purge_asks_first_and_erases(server: LiveServer, source: Path) -> None:
    job_id = await submit_export(server, source)
    refused = await run_on(server, "purge", job_id)
    declined = await run_on(server, "purge", job_id, stdin="n\n")
    assert (refused.status, declined.status) == (2, 1)
    assert refused.err.endswith("framehook: there is no terminal to ask on; answer with --yes\n")
    assert "for good?" in refused.out + refused.err
    assert (await server.http.get(f"/api/exports/{job_id}")).status_code == 200
    erased = await run_on(server, "purge", job_id, "--yes")
    assert (erased.status, erased.out) == (0, f"The export {job_id} is erased.\n")
    assert await run_json(server, "purge", job_id, "--yes") == {"erased": job_id}
    assert (await server.http.get(f"/api/exports/{job_id}")).status_code == 410
