"""`framehook serve --check-config` names all that is wrong at once, and changes nothing."""

import os
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from infra.lock import hold_lock
from service.cli.main import app
from service.settings import Settings
from tests.support.live_server import free_port

CONFIGURATION, TRY_AGAIN = 78, 75
SECRET = "hunter2hunter2"
BUCKET = {"R2_ACCESS_KEY_ID": "a", "R2_SECRET_ACCESS_KEY": SECRET, "R2_BUCKET_NAME": "videos"}
MODAL = {"MODAL_ENABLED": "1", "CALLBACK_SECRET": "0123456789" * 4}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Remove all settings from the environment, and run in a folder without `.env`."""
    known = {name.upper() for name in Settings.model_fields} | {"MODAL_SERVER_URL"}
    for name in [name for name in os.environ if name.upper() in known]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PORT", str(free_port()))
    return monkeypatch


def check_config(**environment: str) -> Result:
    result = CliRunner().invoke(app, ["serve", "--check-config"], env=environment)
    assert SECRET not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def list_lines(result: Result, level: str) -> list[str]:
    """Return the lines of a level, without it, and with single spaces."""
    lines = [line.split() for line in result.stdout.splitlines()]
    return [" ".join(words[1:]) for words in lines if words[0] == level]


def test_a_configuration_that_works_is_said_to(tmp_path: Path) -> None:
    result = check_config()
    assert (result.exit_code, list_lines(result, "fail"), list_lines(result, "warn")) == (0, [], [])
    assert list(tmp_path.iterdir()) == []  # the data folder could be created, and is not there


def test_everything_that_is_wrong_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DATABSE_URL=x\n")
    (tmp_path / "var").write_text("a file")
    with socket.create_server(("127.0.0.1", 0)) as other:
        result = check_config(
            LOG_FORMAT="xml",
            MODAL_TOKEN_ID="ak-1",
            PORT=str(other.getsockname()[1]),
            DATABASE_URL=f"postgresql://u:{SECRET}@127.0.0.1:1/x",
            **BUCKET,
            R2_ENDPOINT_URL="http://127.0.0.1:1",
        )
    assert result.exit_code == CONFIGURATION
    assert [line.partition(":")[0] for line in list_lines(result, "fail")] == [
        "settings LOG_FORMAT",
        "settings MODAL_TOKEN_ID and MODAL_TOKEN_SECRET must be set together",
        "data folder DATA_DIR",
        "ports PORT",
        "database DATABASE_URL",
        "storage R2_ENDPOINT_URL",
    ]
    assert "did you mean DATABASE_URL?" in list_lines(result, "warn")[0]


@pytest.mark.parametrize(
    ("settings", "said", "status"),
    [
        pytest.param(
            {"DATABASE_URL": f"postgresql://u:{SECRET}@127.0.0.1:1/x"}, "reached", TRY_AGAIN, id="database"
        ),
        pytest.param(
            {**BUCKET, "R2_ENDPOINT_URL": "http://127.0.0.1:1"}, "can not be reached", TRY_AGAIN, id="storage"
        ),
        pytest.param({"HOST": "127.0.0.1", "DATA_DIR": "/proc/x"}, "DATA_DIR", CONFIGURATION, id="folder"),
        pytest.param(
            {**MODAL, "PUBLIC_URL": "http://localhost"}, "own machine", CONFIGURATION, id="callbacks"
        ),
        pytest.param(
            {**MODAL, "PUBLIC_URL": "https://a.example", "MODAL_GPU": "Z9", "MAX_COST_PER_DAY_USD": "5"},
            "GPU_USD_PER_SECOND",
            CONFIGURATION,
            id="price",
        ),
    ],
)
def test_the_status_says_whether_a_later_start_may_succeed(
    settings: dict[str, str], said: str, status: int
) -> None:
    result = check_config(**settings)
    assert result.exit_code == status
    assert said.replace("can not", "cannot") in "".join(list_lines(result, "fail"))


def test_what_only_looks_odd_is_a_warning() -> None:
    result = check_config(**MODAL, PUBLIC_URL="http://10.0.0.3/video", OPERATORS="ada")
    assert result.exit_code == 0
    assert [" ".join(line.split()[:2]) for line in list_lines(result, "warn")] == [
        "settings OPERATORS",
        "settings PUBLIC_URL",
        "runner PUBLIC_URL:",
    ]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SSL_CERT_FILE", "none.pem", "can't be read (no such file or directory)"),
        ("SSL_CERT_FILE", "empty.pem", "has no certificates"),
        ("SSL_CERT_DIR", "none", "is not a folder"),
    ],
)
def test_authorities_that_can_not_be_read_are_named_before_the_start_and_at_it(
    tmp_path: Path, name: str, value: str, said: str
) -> None:
    (tmp_path / "empty.pem").touch()
    result = check_config(**{name: value})
    assert (result.exit_code, f"{name}: {value} {said}" in result.stdout) == (CONFIGURATION, True)
    start = CliRunner().invoke(app, ["serve"], env={name: value})
    assert (start.exit_code, f"{name}: {value} {said}" in start.stderr) == (CONFIGURATION, True)


def test_a_folder_in_use_and_a_taken_port_are_temporary(data_dir: Path) -> None:
    with hold_lock(data_dir / "service.lock"):
        result = check_config(DATA_DIR=str(data_dir))
    assert (result.exit_code, "another service is using" in result.stdout) == (TRY_AGAIN, True)


def test_the_schema_of_a_file_is_compared(data_dir: Path) -> None:
    assert "the newest" in check_config(DATA_DIR=str(data_dir)).stdout
    with closing(sqlite3.connect(data_dir / "framehook.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '0003'")
    older = check_config(DATA_DIR=str(data_dir))
    assert (older.exit_code, "is upgraded at the start from 0003" in older.stdout) == (0, True)
    with closing(sqlite3.connect(data_dir / "framehook.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    newer = check_config(DATA_DIR=str(data_dir))
    assert (newer.exit_code, "a newer release" in newer.stdout) == (CONFIGURATION, True)
    (data_dir / "framehook.db").write_bytes(b"no database at all" * 100)
    assert "is not a SQLite database" in check_config(DATA_DIR=str(data_dir)).stdout


def test_an_unreadable_file_of_settings_is_the_only_finding(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"PORT=\xff")
    result = check_config()
    assert (result.exit_code, len(result.stdout.splitlines())) == (CONFIGURATION, 1)
    assert "is not UTF-8" in result.stdout
