"""Names and metadata on the command line: given with `export`, shown and found with `list` and `watch`."""

from pathlib import Path

import pytest

from tests.service.cli.commands import export_command, run, run_json, run_on
from tests.support.live_server import LiveServer


async def list_ids(server: LiveServer, *words: str) -> list[str]:
    listed = await run_json(server, "list", *words)
    return [export["job_id"] for export in listed["exports"]]


async def test_an_export_is_named_and_found(server: LiveServer, source: Path) -> None:
    words = (
        "--name",
        "First\u202e goal",
        "--metadata",
        "order=A=1",
        "--metadata",
        "n=5",
        "--project-id",
        "7",
    )
    named = await run_json(server, *export_command(source, *words))
    other = await run_json(server, *export_command(source, "--metadata", "n=5"))
    assert (named["name"], named["project_id"]) == ("First\u202e goal", "7")
    assert named["metadata"] == {"order": "A=1", "n": "5"}
    both = [other["job_id"], named["job_id"]]
    for filters, expected in (
        (("--metadata", "n=5"), both),
        (("--metadata", "n=5", "--metadata", "order=A=1"), both[1:]),
        (("--project-id", "7"), both[1:]),
        (("--status", "pending", "--status", "processing", "--type", "framing", "--type", "overlay"), both),
        (("--type", "overlay"), []),
        (("--created-after", named["created_at"]), both),
        (("--created-before", named["created_at"]), []),
        (("--created-before", "2026-01-01"), []),
    ):
        assert await list_ids(server, *filters) == expected, filters
    lines = (await run_on(server, "list")).out.splitlines()
    assert lines[0].split()[:3] == ["JOB", "NAME", "TYPE"]
    assert "First  goal" in lines[2]
    await run_on(server, "cancel", named["job_id"])
    assert (await run_on(server, "watch", named["job_id"])).err.startswith("  First  goal\n")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--metadata", "order"), "'order' is not KEY=VALUE."),
        (("--metadata", "=1"), "'=1' is not KEY=VALUE."),
        (("--metadata", "a=1", "--metadata", "a=2"), "the key 'a' is given twice."),
        (("--created-after", "yesterday"), "'yesterday' is no time"),
        (("--created-after", "0001-01-01T00:00:00+23:59"), "is no time"),
    ],
)
def test_a_wrong_option_is_named(words: tuple[str, ...], sentence: str) -> None:
    result = run("list", *words)
    assert result.status == 2
    assert sentence in " ".join(result.err.split())


async def test_what_the_service_rejects_is_said(server: LiveServer) -> None:
    result = await run_on(server, "list", "--metadata", "a b=1")
    assert result.status == 4
    assert "metadata" in result.err


async def test_an_export_is_scheduled(server: LiveServer, source: Path) -> None:
    words = ("--priority", "high", "--not-before", "2020-01-31T12:00:00Z", "--deadline", "900")
    job = await run_json(server, *export_command(source, *words, "--start-within", "600"))
    assert (job["priority"], job["not_before"]) == ("high", "2020-01-31T12:00:00Z")
    refused = await run_on(server, *export_command(source, "--priority", "urgent"))
    assert refused.status == 2
    assert "'urgent' is not one of" in " ".join(refused.err.split())
