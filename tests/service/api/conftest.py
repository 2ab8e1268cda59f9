"""A run in progress, the service on each database, and the service on a socket."""

from contextlib import AsyncExitStack

import pytest

from service.settings import Settings
from tests.support.app_harness import AppHarness, open_app
from tests.support.fakes import FakeRun, FakeRunner
from tests.support.stream_server import Road, StreamServer, open_server


@pytest.fixture
async def run(app: AppHarness) -> FakeRun:
    """A run in its third step."""
    await app.submit_export()
    run = await app.next_run()
    await run.report_started()
    await run.report_progress(10, "downloading")
    await run.report_progress(20)
    return run


@pytest.fixture(params=["sqlite", "postgresql"])
async def app_on_any_database(
    request: pytest.FixtureRequest, users_settings: Settings, stack: AsyncExitStack
) -> AppHarness:
    """The service on each database, with at most three exports per user.

    Each test is another user.
    """
    url = request.getfixturevalue(f"{request.param}_url")
    changed = users_settings.model_copy(update={"database_url": url, "max_queued_per_user": 3})
    return await stack.enter_async_context(open_app(changed, FakeRunner()))


@pytest.fixture
async def server(settings: Settings, stack: AsyncExitStack, road: Road) -> StreamServer:
    return await stack.enter_async_context(open_server(settings, road=road))


@pytest.fixture
async def multi_user_server(users_settings: Settings, stack: AsyncExitStack, road: Road) -> StreamServer:
    return await stack.enter_async_context(open_server(users_settings, road=road))
