"""`framehook doctor`: database, storage, machine and all of them together."""

import json
import os
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from infra.storage.bucket_setup import BucketConfig, set_up_bucket
from infra.storage.client import Bucket
from service.cli.main import app
from service.composition.machine_checks import check_disk, check_open_files
from service.doctor.clock import compare_clocks
from service.doctor.database import examine_database
from service.doctor.storage import examine_bucket, examine_folder
from service.settings import Settings
from service.startup.findings import Finding, Level
from tests.infra.database.pooler import run_pooler
from tests.support.live_server import MASTER, free_port, settings_on
from tests.support.s3_server import S3Server

GIBIBYTE = 2**30
PAGE = "https://app.example"


def levels_of(findings: list[Finding]) -> dict[str, Level]:
    return {finding.check: finding.level for finding in findings}


async def test_sqlite_and_its_schema_are_shown(data_dir: Path) -> None:
    findings = await examine_database(settings_on(1, data_dir))
    assert levels_of(findings) == {"database": Level.OK, "database version": Level.OK}


async def test_the_clock_of_postgresql_and_its_notifications_are_checked(
    postgresql_url: str, data_dir: Path
) -> None:
    findings = await examine_database(settings_on(1, data_dir, database_url=postgresql_url))
    assert levels_of(findings) == dict.fromkeys(
        ("database", "database version", "clock", "notifications"), Level.OK
    )


async def test_a_pooler_that_drops_notifications_is_found_out(postgresql_url: str, data_dir: Path) -> None:
    async with run_pooler(postgresql_url, drops_notifications=True) as pooler:
        findings = await examine_database(settings_on(1, data_dir, database_url=pooler.url))
    assert levels_of(findings)["notifications"] is Level.FAIL
    assert "session mode" in findings[-1].message


async def test_a_bucket_is_tried_and_its_rules_are_compared(s3_server: S3Server) -> None:
    config = s3_server.client_config()
    [missing] = await examine_bucket(config, [PAGE], time.time)
    assert (missing.level, "framehook bucket prepare" in missing.message) == (Level.FAIL, True)

    bucket = Bucket(config)
    await bucket.create()
    bare = await examine_bucket(config, [PAGE], time.time)
    assert [finding.check for finding in bare if finding.level is Level.WARN] == ["storage rules"] * 3
    assert PAGE in bare[2].message
    async for _ in set_up_bucket(bucket, BucketConfig(origins=[PAGE])):
        pass
    await bucket.close()
    late = levels_of(await examine_bucket(config, [PAGE], lambda: time.time() - 30))
    assert late == {"storage": Level.OK, "storage rules": Level.OK, "clock": Level.WARN}

    s3_server.faults.forbidden = True
    [refused] = await examine_bucket(config, [PAGE], time.time)
    assert (refused.level, "R2_ACCESS_KEY_ID" in refused.message) == (Level.FAIL, True)


def test_a_folder_is_tried_and_left_as_it_was(data_dir: Path) -> None:
    assert examine_folder(data_dir).level is Level.OK
    (data_dir / "incoming").mkdir()
    assert "takes, returns and deletes" in examine_folder(data_dir).message
    assert list((data_dir / "incoming").iterdir()) == []


@pytest.mark.parametrize(
    ("free_bytes", "level"), [(100 * GIBIBYTE, Level.OK), (GIBIBYTE, Level.WARN), (1_000, Level.FAIL)]
)
def test_the_disk_must_have_room_for_what_is_reserved(data_dir: Path, free_bytes: int, level: Level) -> None:
    settings = settings_on(1, data_dir, local_workers=2)
    assert check_disk(settings, lambda _folder: free_bytes).level is level
    (data_dir / "scratch").mkdir()
    small = {"scratch": free_bytes}
    finding = check_disk(settings, lambda folder: small.get(folder.name, 2**40))
    assert (finding.level, level is Level.OK or "scratch" in finding.message) == (level, True)


def test_a_limit_of_files_that_allows_fewer_connections_is_said(data_dir: Path) -> None:
    settings = settings_on(1, data_dir, max_connections=4_000)
    assert check_open_files(settings, 65_536).level is Level.OK
    few = check_open_files(settings, 1_024)
    assert (few.level, "ulimit -n" in few.message) == (Level.WARN, True)


@pytest.mark.parametrize(
    ("seconds", "level", "said"),
    [
        (0.4, Level.OK, ""),
        (-20.0, Level.WARN, "20 s behind"),
        (20.0, Level.WARN, "20 s ahead of"),
        (200.0, Level.FAIL, "200 s ahead of"),
    ],
)
def test_clocks_that_differ_are_said(seconds: float, level: Level, said: str) -> None:
    finding = compare_clocks("the database", here=1_000.0 + seconds, there=1_000.0)
    assert (finding.level, said in finding.message) == (level, True)


def test_the_command_names_every_check_and_fails_with_one(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    known = {name.upper() for name in Settings.model_fields} | {"FRAMEHOOK_TOKEN"}
    for name in [name for name in os.environ if name.upper() in known]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    environment = {"DATA_DIR": str(data_dir), "PORT": str(free_port()), "CALLBACK_SECRET": MASTER}
    result = CliRunner().invoke(app, ["doctor", "--json"], env=environment)
    levels = {finding["check"]: finding["level"] for finding in json.loads(result.stdout)}
    names = ("settings", "disk", "open files", "database", "database version", "storage")
    assert set(levels) == {*names, "callbacks", "streams"}
    assert (result.exit_code, levels["callbacks"], levels["streams"]) == (1, "fail", "fail")
    invalid = CliRunner().invoke(app, ["doctor"], env={**environment, "PORT": "x"})
    assert (invalid.exit_code, invalid.stdout.split()[:2]) == (1, ["fail", "settings"])
