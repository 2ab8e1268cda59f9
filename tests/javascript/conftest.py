"""The service of several users behind a faulty proxy, and pages of another origin."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from service.settings import Settings, load_settings
from tests.javascript.proxied_service import ProxiedService, open_proxied_service
from tests.support.browser.page_server import serve_pages
from tests.support.live_server import MASTER

JWT_SECRET = "a shared secret that is long enough for tests, even for those of SHA-512"


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
def page_settings(data_dir: Path, page_origin: str) -> Settings:
    """Several users with tokens, and pages of `page_origin`."""
    return load_settings(
        data_dir=data_dir,
        host="127.0.0.1",
        port=8000,
        callback_secret=MASTER,
        auth_jwt_secret=JWT_SECRET,
        allowed_origins=(page_origin,),
        _env_file="",
    )


@pytest.fixture
async def service(page_settings: Settings) -> AsyncIterator[ProxiedService]:
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(open_proxied_service(page_settings))
