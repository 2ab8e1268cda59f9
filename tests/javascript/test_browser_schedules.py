"""Two tabs, through cuts, silence, swallowed WebSockets, restarts and expired tokens, show what the service has."""

import os
import shutil
from pathlib import Path

import pytest
from playwright.async_api import Browser

from tests.javascript.browser_schedules import PAGE, Playing, generate_schedule
from tests.javascript.page_builder import WEB
from tests.javascript.proxied_service import ProxiedService
from tests.support.browser.faulty_proxy import Sockets
from tests.support.npm.node_runtime import REQUIRE_ALL

GROUP = 5
GROUPS = 10 if os.environ.get(REQUIRE_ALL) else 2
"""The seeds are those below GROUP * GROUPS; a failure names the schedule with its seed."""


@pytest.fixture
def page_folder(tmp_path: Path) -> Path:
    """The tab's page and the client, which come from the page's own origin."""
    folder = tmp_path / "pages"
    folder.mkdir()
    (folder / "index.html").write_text(PAGE)
    shutil.copy(WEB / "framehook.js", folder)
    return folder


@pytest.mark.parametrize("group", range(GROUPS))
async def test_two_tabs_show_the_history_of_the_service_over_one_connection(
    service: ProxiedService, chromium: Browser, page_origin: str, group: int
) -> None:
    for seed in range(group * GROUP, (group + 1) * GROUP):
        service.proxy.sockets = Sockets.PASS
        context = await chromium.new_context()
        await Playing(generate_schedule(seed), service, context, f"{page_origin}/index.html").play()
        await context.close()
        await service.proxy.wait_for(lambda: service.proxy.open_streams == [])
