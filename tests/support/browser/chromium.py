"""A headless Chromium, driven by Playwright."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, async_playwright, expect

from tests.support.npm.node_runtime import skip_or_fail

WAIT_MILLISECONDS = 60_000
"""How long `expect` waits for a page on a busy machine."""

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = [
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--autoplay-policy=no-user-gesture-required",
    # what a page asks of another host goes nowhere
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]


@asynccontextmanager
async def launch_chromium() -> AsyncIterator[Browser]:
    """Run the Chromium of this machine; skip the test where there is none."""
    path = next((found_path for name in _NAMES if (found_path := shutil.which(name))), None)
    if path is None:
        skip_or_fail("There is no Chromium here.")
    expect.set_options(timeout=WAIT_MILLISECONDS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=path, args=_ARGUMENTS, chromium_sandbox=False
        )
        try:
            yield browser
        finally:
            await browser.close()
