"""The console in a Chromium, as its users see it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from playwright.async_api import BrowserContext, Locator, Page

WAIT_MILLISECONDS = 90_000
MAX_TABS = 80
READ_FOCUSED_NAME = """() => {
    const element = document.activeElement;
    return element.getAttribute("aria-label") ?? element.labels?.[0]?.textContent ?? element.textContent;
}"""


@dataclass
class ConsolePage:
    """A page of the console; `complaints` are errors that the browser has logged."""

    page: Page
    url: str
    complaints: list[str]

    async def open(self, place: str = "#/") -> None:
        await self.page.goto(f"{self.url}/{place}")
        await self.page.wait_for_selector("main h1")

    async def upload(self, path: Path) -> None:
        """Choose a file on the page for new exports and wait until it can be edited."""
        await self.open("#/")
        await self.page.evaluate("sessionStorage.clear()")
        await self.open("#/new")
        await self.page.set_input_files("#file", path)
        await self.wait_for_stage()

    async def wait_for_stage(self) -> None:
        await self.page.wait_for_selector(".stage")
        await self.wait_for_frame()

    async def wait_for_frame(self) -> None:
        """Wait until the video shows the frame of its time."""
        video = await self.page.wait_for_selector(".stage video")
        assert video is not None
        while not await video.evaluate("video => video.readyState >= 2 && !video.seeking"):
            await self.page.evaluate("new Promise(requestAnimationFrame)")
        await self.page.evaluate("new Promise(requestAnimationFrame)")

    async def wait_for_videos(self) -> None:
        """Show the first frame of every video of the page, without the sign that it loads."""
        for video in await self.page.query_selector_all("video"):
            await video.evaluate(
                "async (video) => { video.muted = true; await video.play(); video.pause(); video.currentTime = 0; }"
            )
            while not await video.evaluate("video => video.readyState >= 2 && !video.seeking"):
                await self.page.evaluate("new Promise(requestAnimationFrame)")

    async def seek(self, fraction: float) -> None:
        """Click on the timeline."""
        box = await self.box(self.page.locator(".strip-area"))
        await self.page.mouse.click(box["x"] + fraction * box["width"], box["y"] + 8)
        await self.wait_for_frame()

    async def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag on the stage, from and to fractions of the picture."""
        box = await self.box(self.page.locator(".stage"))
        points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)]
        await self.page.mouse.move(*points[0])
        await self.page.mouse.down()
        await self.page.mouse.move(*points[1], steps=4)
        await self.page.mouse.up()

    async def box(self, locator: Locator) -> dict[str, float]:
        await locator.scroll_into_view_if_needed()
        box = await locator.bounding_box()
        assert box is not None
        return {name: float(value) for name, value in box.items()}  # type: ignore[arg-type]

    async def press_button(self, name: str) -> None:
        await self.page.get_by_role("button", name=name, exact=True).click()

    async def focus_by_tab(self, name: str) -> None:
        """Press Tab until the control of this name has the focus."""
        for _ in range(MAX_TABS):
            await self.page.keyboard.press("Tab")
            if await self.page.evaluate(READ_FOCUSED_NAME) == name:
                return
        raise AssertionError(f"Tab never reaches {name}")

    async def export(self) -> str:
        """Export what is set up, wait for its end and return the job id."""
        await self.press_button("Export")
        await self.page.wait_for_url("**/#/exports/*")
        await self.page.wait_for_selector(".badge.complete")
        return unquote(self.page.url.rpartition("/")[2])


@asynccontextmanager
async def open_console(context: BrowserContext, url: str) -> AsyncIterator[ConsolePage]:
    """Open a tab for the console; at its end no error may have been logged."""
    page = await context.new_page()
    page.set_default_timeout(WAIT_MILLISECONDS)
    console = ConsolePage(page, url, [])
    page.on("pageerror", lambda error: console.complaints.append(str(error)))
    page.on("console", lambda message: _note(console, message.type, message.text))
    yield console
    await page.close()
    assert console.complaints == []


def _note(console: ConsolePage, kind: str, text: str) -> None:
    # Chromium logs every response of 400 and above, also those that the page handles.
    if kind == "error" and not text.startswith(("Failed to load resource", "WebSocket connection to")):
        console.complaints.append(text)
