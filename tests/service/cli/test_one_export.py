"""Commands on one export: shown, edited, downloaded, created once."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from service.cli.errors import UNREACHABLE_STATUS
from tests.service.cli.commands import (
    CONTENT,
    complete,
    export_command,
    run,
    run_json,
    run_on,
    submit_export,
)
from tests.support.live_server import PROBLEM, LiveServer, ScriptedResponse, export_state, serve_script


async def complete_export(server: LiveServer, source: Path) -> str:
    job_id = await submit_export(server, source)
    await complete(server, await server.next_run())
    return job_id


async def test_an_export_is_shown_with_its_phases(server: LiveServer, source: Path) -> None:
    job_id = await submit_export(server, source, "--name", "First\u202e goal", "--metadata", "n=5")
    await complete(server, await server.next_run())
    shown = (await run_on(server, "show", job_id)).out
    record, phases = shown.split("\n\n")
    rows = {line[:17].strip(): line[17:] for line in record.splitlines()}
    assert (rows["job id"], rows["name"], rows["metadata"]) == (job_id, "First  goal", "n=5")
    assert (rows["status"], rows["output size"]) == ("complete", str(len(CONTENT)))
    assert "error" not in rows
    assert [line.split()[0] for line in phases.splitlines()][-1] == "run"
    assert (await run_json(server, "show", job_id))["output"]["size"] == len(CONTENT)


async def test_an_export_is_edited(server: LiveServer, source: Path) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    labels = ("--name", "a", "--metadata", "n=5", "--project-id", "7")
    job_id = await submit_export(server, source, *labels, "--not-before", tomorrow)
    edited = await run_json(server, "edit", job_id, "--name", "b", "--metadata", "x=1", "--priority", "high")
    assert (edited["name"], edited["metadata"], edited["priority"]) == ("b", {"x": "1"}, "high")
    assert edited["project_id"] == "7"
    removed = await run_on(server, "edit", job_id, "--name", "", "--metadata", "", "--project-id", "")
    assert (removed.status, removed.out) == (0, f"Export {job_id} is changed.\n")
    job = await run_json(server, "show", job_id)
    assert (job["name"], job["metadata"], job["project_id"]) == (None, {}, None)
    await run_on(server, "cancel", job_id)
    refused = await run_on(server, "edit", job_id, "--priority", "low")
    assert (refused.status, refused.err.count("\n")) == (4, 1)


def test_an_edit_says_what_to_give() -> None:
    result = run("edit", "job")
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith("framehook: give what should change: --name")


async def test_the_file_of_an_export_is_saved_and_replaced_only_by_agreement(
    server: LiveServer, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    job_id = await complete_export(server, source)
    saved = await run_on(server, "download", job_id)
    assert saved.out == f"Saved to {job_id}.mp4, {len(CONTENT):,} bytes.\n"
    file = tmp_path / f"{job_id}.mp4"
    assert file.read_bytes() == CONTENT
    file.write_bytes(b"mine")
    unanswered = await run_on(server, "download", job_id)
    declined = await run_on(server, "download", job_id, stdin="n\n")
    assert (unanswered.status, declined.status, file.read_bytes()) == (2, 1, b"mine")
    assert unanswered.err.endswith("there is no terminal to ask on; answer with --force\n")
    assert (await run_on(server, "download", job_id, stdin="y\n")).status == 0
    assert file.read_bytes() == CONTENT
    forced = await run_json(server, "download", job_id, "--output", tmp_path, "--force")
    assert forced["path"] == str(file)
    assert forced["size"] == len(CONTENT)


@pytest.mark.parametrize("command", ["export", "watch", "retry"])
def test_a_file_that_exists_is_not_replaced_by_an_export(source: Path, command: str) -> None:
    words = export_command(source) if command == "export" else (command, "job")
    with serve_script(ScriptedResponse(500)) as script:
        result = run(*words, "-o", source, FRAMEHOOK_URL=script.url)
        assert script.requests == []
        forced = run(*words, "-o", source, "--force", FRAMEHOOK_URL=script.url)
        assert len(script.requests) > 0
    assert (result.status, result.out, forced.status) == (2, "", 5)
    assert result.err == (
        f"framehook: {source} exists already; name another file, or replace it with --force\n"
    )


def test_a_download_that_the_bucket_forbids_fails_at_once_in_a_sentence(tmp_path: Path) -> None:
    output = {"size": 5, "checksum": "sha256:0", "duration": 1, "width": 2, "height": 2, "url": ""}
    job = msgspec.to_builtins(export_state(1, "complete", output_key="outputs/a.mp4")) | {"output": output}
    body = (
        b'{"type": "urn:framehook:problem:storage_misconfigured", "detail": "The storage is misconfigured."}'
    )
    forbidden = ScriptedResponse(503, {**PROBLEM, "Retry-After": "2", "X-Request-ID": "abc"}, body)
    with serve_script(ScriptedResponse(body=msgspec.json.encode(job)), forbidden) as script:
        result = run("download", "job-1", "-o", tmp_path, FRAMEHOOK_URL=script.url)
    assert (result.status, len(script.requests)) == (UNREACHABLE_STATUS, 2)
    assert result.err == (
        "framehook: The storage is misconfigured.\n"
        "  the log of the service has the reason under request_id abc\n"
    )


async def test_a_video_is_uploaded_and_deleted(server: LiveServer, source: Path) -> None:
    key = (await run_json(server, "uploads", "add", source))["key"]
    again = (await run_on(server, "uploads", "add", source)).out
    assert [file["key"] for file in (await run_json(server, "uploads", "list"))["uploads"]] == [
        again.strip(),
        key,
    ]
    assert await run_json(server, "uploads", "delete", key, "--yes") == {"deleted": key}


async def test_a_download_goes_on_where_it_stopped(server: LiveServer, source: Path, tmp_path: Path) -> None:
    job_id = await complete_export(server, source)
    target = tmp_path / "out.mp4"
    checksum = (await run_json(server, "show", job_id))["output"]["checksum"]
    part = tmp_path / f"out.mp4.{checksum[-12:]}.part"
    part.write_bytes(CONTENT[:10])
    result = await run_on(server, "download", job_id, "-o", target)
    assert (result.status, target.read_bytes()) == (0, CONTENT)
    assert not part.exists()


async def test_a_file_that_does_not_exist_says_why(server: LiveServer, source: Path, tmp_path: Path) -> None:
    job_id = await submit_export(server, source)
    run = await server.next_run()
    early = await run_on(server, "download", job_id)
    assert (early.status, early.out) == (1, "")
    assert f"has no file yet. wait for it: framehook watch {job_id}" in early.err
    await run.report_failed()
    failed = await run_on(server, "download", job_id)
    assert (failed.status, failed.err) == (
        1,
        "framehook: The export failed: The file holds no video. (no_video)\n",
    )
    assert (
        await run_on(server, "download", await complete_export(server, source), "-o", "/dev/null")
    ).err == ("framehook: /dev/null is not a regular file; save to a file of another name\n")


async def test_the_same_command_with_the_same_key_creates_one_export(
    server: LiveServer, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    first = await submit_export(server, source, "--idempotency-key", "order-17")
    assert await submit_export(server, source, "--idempotency-key", "order-17") == first
    other = await run_on(server, *export_command(source, "--idempotency-key", "order-17", "--name", "other"))
    assert other.status == 4
    assert "Idempotency-Key" in other.err
    uploads = (await run_json(server, "uploads", "list"))["uploads"]
    assert len(uploads) == 1
