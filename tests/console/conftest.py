"""A running service with real exports, and the console in a tab."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext

from tests.console.console_page import ConsolePage, open_console
from tests.console.gradient_video import write_gradient
from tests.support.service_process import ServiceProcess


@pytest.fixture(scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServiceProcess]:
    async with ServiceProcess(tmp_path_factory.mktemp("console")) as process:
        yield process


@pytest.fixture
async def console(browser_context: BrowserContext, service: ServiceProcess) -> AsyncIterator[ConsolePage]:
    async with open_console(browser_context, f"http://127.0.0.1:{service.port}") as page:
        yield page


@pytest.fixture(scope="session")
def gradient(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of three seconds whose brightness grows from left to right."""
    return write_gradient(tmp_path_factory.mktemp("videos") / "gradient.mp4")
