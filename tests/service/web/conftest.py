"""The service on a socket, and Node with the browser client."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from service.settings import Settings
from tests.service.web.node_page import NodePage
from tests.support.stream_server import StreamServer, open_server


@pytest.fixture
async def server(settings: Settings, stack: AsyncExitStack) -> StreamServer:
    return await stack.enter_async_context(open_server(settings))


@pytest.fixture
async def multi_user_server(users_settings: Settings, stack: AsyncExitStack) -> StreamServer:
    return await stack.enter_async_context(open_server(users_settings))


@pytest.fixture
def page(server: StreamServer, tmp_path: Path) -> NodePage:
    """A page of the service's own user."""
    return NodePage(server.address, tmp_path)


@pytest.fixture
def signed_in_page(multi_user_server: StreamServer, tmp_path: Path) -> NodePage:
    """A page of a service that knows its users by tokens."""
    return NodePage(multi_user_server.address, tmp_path)
