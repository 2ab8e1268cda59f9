"""`framehook batch …`, and changes of all exports that conditions select."""

import asyncio
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from framehook import Client, FramehookError
from service.cli.batches.request_file import BatchFile, read_batch
from tests.service.cli.commands import complete, run, run_json, run_on
from tests.support.live_server import FRAMING, LiveServer, ScriptedResponse, serve_script

LATER = (datetime.now(UTC) + timedelta(days=20)).isoformat()
FIRST, SECOND = {"type": "framing", "config": {}}, {"type": "overlay", "name": "a \u2028 b", "config": {}}


async def build_exports(server: LiveServer, count: int, **options: object) -> list[dict[str, Any]]:
    """Upload a few bytes and return requests for exports of them."""

    def upload() -> str:
        with Client(server.url) as client:
            return client.upload(io.BytesIO(b"video"), filename="match.mp4")

    config = {**FRAMING, "input_key": await asyncio.to_thread(upload)}
    return [{"type": "framing", "config": config, **options} for _ in range(count)]


async def test_a_batch_is_created_shown_cancelled_and_erased(server: LiveServer, tmp_path: Path) -> None:
    exports = await build_exports(server, 3, not_before=LATER)
    exports[0]["webhook_url"] = "http://127.0.0.1:2/hook"
    lines = "".join(json.dumps(export) + "\n" for export in exports)
    created = await run_on(server, "batch", "create", "-", "--name", "night", stdin=lines)
    assert created.status == 0, created.err
    sentence, secret = created.out.splitlines()
    batch_id = sentence.split()[1]
    assert sentence.startswith(f"Batch {batch_id} has 3 exports. Watch it: ")
    assert secret.startswith("Webhook secret of ")
    shown = await run_json(server, "batch", "show", batch_id)
    assert (shown["name"], shown["counts"]) == ("night", {"pending": 3})
    file = tmp_path / "exports.json"
    file.write_text(json.dumps({"exports": exports[1:], "metadata": {"n": 5}}), "utf-8")
    words = ("batch", "create", file, "--idempotency-key", "order-17", "--metadata", "n=6")
    second, again = [await run_json(server, *words) for _ in range(2)]
    assert (again, second["metadata"], len(second["exports"])) == (second, {"n": "6"}, 2)
    listed = (await run_on(server, "batch", "list")).out.splitlines()
    assert [line.split()[0] for line in listed] == ["BATCH", second["batch_id"], batch_id]
    assert listed[2].endswith("night  3 pending")
    cancelled = await run_on(server, "batch", "cancel", batch_id)
    assert (cancelled.status, cancelled.out) == (0, "The batch has ended: 3 cancelled.\n")
    watched = await run_on(server, "batch", "watch", batch_id)
    assert (watched.status, watched.out) == (1, "")
    assert watched.err.endswith("framehook: The batch has ended: 3 cancelled.\n")
    assert (await run_on(server, "batch", "purge", batch_id, stdin="n\n")).status == 1
    assert await run_json(server, "batch", "purge", batch_id, "--yes") == {"erased": batch_id}
    assert (await run_on(server, "batch", "show", batch_id)).status == 3


async def test_the_progress_of_a_batch_is_shown_until_its_end(server: LiveServer) -> None:
    text = json.dumps(await build_exports(server, 1))
    running = asyncio.create_task(run_on(server, "batch", "create", "-", "--wait", stdin=text))
    await complete(server, await server.next_run())
    result = await running
    assert (result.status, result.out) == (0, "The batch has ended: 1 complete.\n")
    assert result.err.splitlines()[-1] == "  done        100.0 %  1 complete"


async def test_exports_are_cancelled_and_retried_by_conditions(server: LiveServer) -> None:
    exports = await build_exports(server, 2, not_before=LATER, project_id=7)
    await run_on(server, "batch", "create", "-", stdin=json.dumps(exports))
    conditions = ("--project-id", "7")
    declined = await run_on(server, "cancel", *conditions, stdin="n\n")
    assert (declined.status, declined.err.startswith("Cancel 2 exports? [y/N]")) == (1, True)
    assert (await run_on(server, "cancel", *conditions)).status == 2
    cancelled = await run_on(server, "cancel", *conditions, stdin="y\n")
    assert (cancelled.status, cancelled.out.splitlines()[-1]) == (0, "2 of 2 exports are cancelled.")
    nothing = await run_on(server, "cancel", *conditions)
    assert (nothing.status, nothing.out) == (0, "0 of 0 exports are cancelled.\n")
    retried = await run_json(server, "retry", "--status", "cancelled", "--yes")
    assert (retried["matched"], retried["changed"]) == (2, 2)
    assert {export["status"] for export in (await run_json(server, "list"))["exports"]} == {"pending"}


def test_what_could_not_be_changed_is_said() -> None:
    answer = ScriptedResponse(body=b'{"matched": 3, "changed": 1, "next_cursor": null}')
    with serve_script(answer) as script:
        result = run("retry", "--type", "framing", "--yes", FRAMEHOOK_URL=script.url)
    assert (result.status, result.out) == (1, "1 of 3 exports are pending again.\n")
    assert result.err == "framehook: the others can't be pending again now\n"
    assert json.loads(script.requests[0].body) == {"type": ["framing"], "status": ["error", "cancelled"]}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("cancel --yes", "give the id of an export, or conditions"),
        ("cancel job --status pending", "give the id of an export, or conditions"),
        ("retry --status complete --yes", "retry exports that are error or cancelled; others can't be"),
        ("retry --status error --watch", "--watch and --output are for one export"),
    ],
)
def test_a_selection_that_is_none_is_refused(words: str, sentence: str) -> None:
    with serve_script(ScriptedResponse(500)) as script:
        result = run(*words.split(), FRAMEHOOK_URL=script.url)
    assert (result.status, result.out, script.requests) == (2, "", [])
    assert result.err.startswith(f"framehook: {sentence}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(json.dumps({"exports": [FIRST], "name": "n"}), BatchFile([FIRST], "n"), id="a batch"),
        pytest.param(json.dumps([FIRST, SECOND], indent=1), BatchFile([FIRST, SECOND]), id="a list"),
        pytest.param(
            "\n".join(json.dumps(export, ensure_ascii=False) for export in (FIRST, SECOND)) + "\n\n",
            BatchFile([FIRST, SECOND]),
            id="an export in each line",
        ),
        pytest.param(json.dumps(FIRST), BatchFile([FIRST]), id="one line"),
        pytest.param(json.dumps(FIRST, indent=1), BatchFile([FIRST]), id="one export over several lines"),
        pytest.param(" \n", "FILE is empty; give the exports of the batch as JSON", id="nothing"),
        pytest.param(
            '{"type": "framing"}\n\n{"type"\n',
            "FILE is not valid JSON: expecting ':' delimiter at line 3, column 8",
            id="a wrong line",
        ),
        pytest.param(
            "[1]", "FILE is not a batch: Expected `object`, got `int` - at `$.exports[0]`", id="a number"
        ),
        pytest.param(
            '{"exports": [], "nam": 1}',
            "FILE is not a batch: Object contains unknown field `nam`",
            id="a typo",
        ),
    ],
)
def test_a_file_of_exports_is_read(tmp_path: Path, text: str, expected: BatchFile | str) -> None:
    file = tmp_path / "exports.json"
    file.write_text(text, "utf-8")
    if isinstance(expected, BatchFile):
        assert read_batch(file) == expected
        return
    with pytest.raises(FramehookError) as error:
        read_batch(file)
    assert str(error.value) == expected.replace("FILE", str(file))
