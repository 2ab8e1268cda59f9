"""Starters of worker processes, with a fork server and without."""

from collections.abc import AsyncIterator

import pytest

from service.workers.starter import WorkerStarter
from tests.support.workers.starters import open_starter


@pytest.fixture(scope="module")
async def forking_starter() -> AsyncIterator[WorkerStarter]:
    """One for all tests of a module: it takes a second to get ready."""
    async with open_starter() as starter:
        yield starter


@pytest.fixture(params=["forked", "interpreter"])
def starter(request: pytest.FixtureRequest, forking_starter: WorkerStarter) -> WorkerStarter:
    return forking_starter if request.param == "forked" else WorkerStarter()
