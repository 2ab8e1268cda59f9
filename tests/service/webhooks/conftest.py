"""A shop on each of the two databases."""

from collections.abc import AsyncIterator

import pytest

from infra.postgresql import AnyDatabase, open_database
from tests.service.webhooks import shop as shops
from tests.service.webhooks.shop import Shop


@pytest.fixture(params=["sqlite", "postgresql"])
async def either(request: pytest.FixtureRequest) -> AsyncIterator[AnyDatabase]:
    """SQLite and PostgreSQL, one after the other."""
    database = open_database(request.getfixturevalue(f"{request.param}_url"))
    yield database
    await database.close()


@pytest.fixture
async def shop(either: AnyDatabase) -> AsyncIterator[Shop]:
    async with shops.opened(either) as found:
        yield found
