"""A webhook harness on each database, and settings that allow receivers on loopback."""

from collections.abc import AsyncIterator
from ipaddress import ip_network

import pytest

from infra.database.base import Database
from infra.database.factory import open_database
from service.settings import Settings, load_settings
from tests.service.webhooks.webhook_harness import WebhookHarness, open_harness

LOOPBACK = ip_network("127.0.0.0/8")


@pytest.fixture(params=["sqlite", "postgresql"])
async def any_database(request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """Open SQLite and PostgreSQL, one after the other."""
    database = open_database(request.getfixturevalue(f"{request.param}_url"))
    yield database
    await database.close()


@pytest.fixture
async def harness(any_database: Database) -> AsyncIterator[WebhookHarness]:
    async with open_harness(any_database) as webhook_harness:
        yield webhook_harness


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Allow receivers on loopback without TLS."""
    changes = {"webhook_allowed_networks": (LOOPBACK,), "webhook_allow_http": True}
    return load_settings(**{**settings.model_dump(exclude_unset=True), **changes}, _env_file="")
