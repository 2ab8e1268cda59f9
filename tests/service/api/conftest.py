"""A run in progress, and the service on a socket."""

from contextlib import AsyncExitStack

import pytest

from service.settings import Settings
from tests.support.app_harness import AppHarness
from tests.support.fakes import FakeRun
from tests.support.stream_server import StreamServer, open_server


@pytest.fixture
async def run(app: AppHarness) -> FakeRun:
    """A run in its third step."""
    await app.submit_export()
    run = await app.next_run()
    await run.report_started()
    await run.report_progress(10, "downloading")
    await run.report_progress(20)
    return run


@pytest.fixture
async def server(settings: Settings, stack: AsyncExitStack) -> StreamServer:
    return await stack.enter_async_context(open_server(settings))


@pytest.fixture
async def multi_user_server(users_settings: Settings, stack: AsyncExitStack) -> StreamServer:
    return await stack.enter_async_context(open_server(users_settings))
