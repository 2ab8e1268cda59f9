"""A service whose runs cost a cent for each GPU second, on both databases."""

from contextlib import AsyncExitStack

import pytest

from service.settings import Settings
from tests.conftest import delete_all_rows
from tests.support.app_harness import AppHarness, open_app
from tests.support.clocks import MovableClock
from tests.support.fakes import FakeRunner


class PaidRunner(FakeRunner):
    """A fake runner with a GPU."""

    gpu = "L4"


@pytest.fixture(params=["sqlite", "postgresql"])
async def paid_settings(request: pytest.FixtureRequest, users_settings: Settings) -> Settings:
    url = request.getfixturevalue(f"{request.param}_url")
    await delete_all_rows(url)
    prices = {"gpu_usd_per_second": 0.01, "max_cost_per_user_day_usd": 1.0, "max_cost_per_day_usd": 2.0}
    return users_settings.model_copy(update={"database_url": url, "operators": ("olga",), **prices})


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
async def paid_app(paid_settings: Settings, clock: MovableClock, stack: AsyncExitStack) -> AppHarness:
    return await stack.enter_async_context(open_app(paid_settings, PaidRunner(), clock.clock))
