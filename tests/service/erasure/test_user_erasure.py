"""`framehook users erase`: everything of a user goes, nothing of others, beside a running service."""

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, func, select
from sqlmodel import SQLModel
from typer.testing import CliRunner

from service.cli.main import app as command_line
from tests.service.conftest import MASTER, bearer
from tests.service.webhooks.api_calls import create_endpoint
from tests.support.app_harness import AppHarness

pytestmark = pytest.mark.anyio
ADA, BOB = bearer("ada"), bearer("bob")


@pytest.fixture
async def used_app(app: AppHarness, stack: AsyncExitStack) -> AppHarness:
    """A service in which ada and bob have exports, uploads, webhooks and files; one export of each is active."""
    for name, headers in (("ada", ADA), ("bob", BOB)):
        await create_endpoint(app.client, "http://127.0.0.1:2/hook", headers=headers)
        upload = {"filename": "match.mp4", "size": 5, "content_type": "video/mp4"}
        target = (await app.client.post("/api/uploads", json=upload, headers=headers)).json()
        assert (await app.client.put(target["url"], content=b"video", headers=target["headers"])).is_success
        for _ in range(2):
            await app.submit_export(
                user=name, json=app.export_body(metadata={"customer": name}), headers=headers
            )
        run = await app.next_run()
        while (answer := await app.complete_run(run)).status_code == 503:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert answer.status_code == 200
        app.put_output(await app.next_run(), b"half of it")
    return app


# Tables whose rows the dispatcher adds and deletes at any moment, as slots become free.
OF_THE_DISPATCHER = {"occupied_places", "user_service"}


async def erase(app: AppHarness, *options: str) -> Any:
    """Run the command on the database and the folder of the service."""
    environment = {
        "DATABASE_URL": str(app.settings.database_url),
        "DATA_DIR": str(app.settings.data_dir),
        "CALLBACK_SECRET": MASTER,
    }
    words = ["users", "erase", "ada", "--json", *options]
    return await asyncio.to_thread(CliRunner().invoke, command_line, words, env=environment)


async def count_rows(app: AppHarness, user: str) -> dict[str, int]:
    async with app.database.reading() as session:
        counts = {}
        for table in SQLModel.metadata.sorted_tables:
            if "user_id" in table.columns:
                counts[table.name] = await session.scalar(_count(table, user)) or 0
        return {name: count for name, count in counts.items() if count}


async def count_kept_rows(app: AppHarness, user: str) -> dict[str, int]:
    rows = await count_rows(app, user)
    return {name: count for name, count in rows.items() if name not in OF_THE_DISPATCHER}


def _count(table: Table, user: str) -> Any:
    return select(func.count()).select_from(table).where(table.c.user_id == user)


def count_files(app: AppHarness, user: str) -> int:
    home = app.settings.data_dir / "objects" / user
    return sum(path.is_file() for path in home.rglob("*"))


async def test_a_user_is_erased_with_a_receipt_and_others_are_not(used_app: AppHarness) -> None:
    others, files = await count_kept_rows(used_app, "bob"), count_files(used_app, "bob")
    expected = count_files(used_app, "ada")
    result = await erase(used_app, "--yes")
    assert result.exit_code == 0, result.output
    receipt = json.loads(result.stdout)
    assert (receipt["user_id"], receipt["files"]) == ("ada", expected)
    assert receipt["bytes"] > 0
    counted = {name: receipt["rows"][name] for name in ("export_jobs", "uploads", "webhook_endpoints")}
    assert counted == {"export_jobs": 2, "uploads": 1, "webhook_endpoints": 1}
    assert count_files(used_app, "ada") == 0
    assert await count_rows(used_app, "ada") == {"erasures": 3}
    assert (await count_kept_rows(used_app, "bob"), count_files(used_app, "bob")) == (others, files)


async def test_a_dry_run_counts_and_deletes_nothing(used_app: AppHarness) -> None:
    rows, files = await count_kept_rows(used_app, "ada"), count_files(used_app, "ada")
    result = await erase(used_app, "--dry-run")
    assert (result.exit_code, json.loads(result.stdout)["files"]) == (0, files)
    assert (await count_kept_rows(used_app, "ada"), count_files(used_app, "ada")) == (rows, files)


async def test_it_asks_first_and_may_be_repeated(used_app: AppHarness) -> None:
    assert (await erase(used_app)).exit_code == 2
    assert count_files(used_app, "ada") > 0
    for _ in range(2):
        result = await erase(used_app, "--yes")
        assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["files"] == 0


def test_a_folder_without_a_database_is_named(tmp_path: Path) -> None:
    where = {"DATABASE_URL": "", "DATA_DIR": str(tmp_path / "var")}
    result = CliRunner().invoke(command_line, ["users", "erase", "ada", "--yes"], env=where)
    assert result.exit_code == 1
    assert f"there is no database {tmp_path / 'var' / 'framehook.db'}" in result.stderr
    assert not (tmp_path / "var").exists()
