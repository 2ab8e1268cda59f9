"""A shop on each of the two databases; and the service as it is set up where consumers are on this machine."""

from collections.abc import AsyncIterator
from ipaddress import ip_network

import pytest

from infra.database.base import Database
from infra.database.factory import open_database
from service.settings import Settings, load_settings
from tests.service.webhooks import webhook_harness as shops
from tests.service.webhooks.webhook_harness import Shop

LOOPBACK = ip_network("127.0.0.0/8")


@pytest.fixture(params=["sqlite", "postgresql"])
async def either(request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """SQLite and PostgreSQL, one after the other."""
    database = open_database(request.getfixturevalue(f"{request.param}_url"))
    yield database
    await database.close()


@pytest.fixture
async def shop(either: Database) -> AsyncIterator[Shop]:
    async with shops.opened(either) as found:
        yield found


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Receivers on loopback, without TLS, are allowed."""
    changes = {"webhook_allowed_networks": (LOOPBACK,), "webhook_allow_http": True}
    return load_settings(**{**settings.model_dump(exclude_unset=True), **changes}, _env_file="")
