"""The service on each database, with a clock that the test moves and receivers of webhooks on loopback."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from ipaddress import ip_network

import pytest

from service.settings import Settings
from tests.conftest import delete_all_rows
from tests.support.app_harness import AppHarness, open_app
from tests.support.clocks import MovableClock
from tests.support.fakes import FakeRunner

MoreSettings = Callable[..., Settings]


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture(params=["sqlite", "postgresql"])
async def any_settings(request: pytest.FixtureRequest, users_settings: Settings) -> Settings:
    """Several users, and receivers on loopback; on each database in turn."""
    url = request.getfixturevalue(f"{request.param}_url")
    await delete_all_rows(url)
    changes = {"webhook_allowed_networks": (ip_network("127.0.0.0/8"),), "webhook_allow_http": True}
    return users_settings.model_copy(update={"database_url": url, **changes})


@pytest.fixture
async def app(any_settings: Settings, clock: MovableClock, stack: AsyncExitStack) -> AppHarness:
    """The service on each database; the user is ada unless a request says otherwise."""
    return await stack.enter_async_context(open_app(any_settings, FakeRunner(), clock.clock))
