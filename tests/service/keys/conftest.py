"""The service of several users on each database, with a clock that the test moves."""

from contextlib import AsyncExitStack

import pytest

from service.settings import Settings
from tests.conftest import delete_all_rows
from tests.support.app_harness import AppHarness, open_app
from tests.support.clocks import MovableClock
from tests.support.fakes import FakeRunner


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture(params=["sqlite", "postgresql"])
async def any_settings(request: pytest.FixtureRequest, users_settings: Settings) -> Settings:
    url = request.getfixturevalue(f"{request.param}_url")
    await delete_all_rows(url)
    return users_settings.model_copy(update={"database_url": url})


@pytest.fixture
async def app(any_settings: Settings, clock: MovableClock, stack: AsyncExitStack) -> AppHarness:
    return await stack.enter_async_context(open_app(any_settings, FakeRunner(), clock.clock))
