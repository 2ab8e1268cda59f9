"""The service of several users behind a faulty proxy, and pages of another origin."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.javascript.proxied_service import ProxiedService, open_proxied_service, users_settings
from tests.support.browser.page_server import serve_pages


@pytest.fixture
def page_folder(npm_folder: Path) -> Path:
    """Where tests write their pages; a module may replace it with a folder that it builds once."""
    return npm_folder


@pytest.fixture
def page_origin(page_folder: Path) -> Iterator[str]:
    """The origin that serves `page_folder`."""
    with serve_pages(page_folder) as origin:
        yield origin


@pytest.fixture
async def service(data_dir: Path, page_origin: str) -> AsyncIterator[ProxiedService]:
    """The service of several users, for pages of `page_origin`."""
    async with open_proxied_service(users_settings(data_dir, page_origin)) as proxied:
        yield proxied
