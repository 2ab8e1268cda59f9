"""`make screenshots`: draw each page of the console, light and dark, for desktop and phone, with real exports in it.

Writes `PAGE-SCHEME-DEVICE.png` to a folder, and three of them, smaller, to `service/docs/images`.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.async_api import Browser

from tests.bench import contact_sheets
from tests.bench.video import footage
from tests.console.console_page import ConsolePage, open_console
from tests.service.webhooks.verifying_receivers import (
    PythonReceiver,
    run_python_receiver,
    verify_with_standardwebhooks,
)
from tests.support.browser.chromium import launch_chromium
from tests.support.service_process import ServiceProcess

SIZES = {"desktop": (1360, 900), "phone": (390, 844)}
SHOWN = {
    "editor-light-desktop": "console-editor",
    "export-dark-desktop": "console-export",
    "list-light-phone": "console-list",
}
SHOWN_WIDTH = 760
COLORS = 128
LOADED = {
    "list": ".row",
    "export": ".bars",
    "new": ".drop",
    "uploads": "td",
    "webhooks": "td",
    "deliveries": ".delivery[open] td",
    "system": ".days",
}
"""What each page shows when it is complete."""
TOOLS = {"editor": "Framing", "overlay": "Overlay", "annotate": "Annotate"}


def configs() -> dict[str, dict[str, Any]]:
    """Return the config of each export type, as the exports guide shows it."""
    sheets = (contact_sheets.framing(), contact_sheets.overlay(), contact_sheets.annotate())
    return {sheet.kind: sheet.config for sheet in sheets}


async def make_exports(console: ConsolePage, film: Path) -> str:
    """Export each type on the page, cancel one, fail one, and return the id of the framing."""
    ids = {}
    for kind, tool in (("annotate", "Annotate"), ("overlay", "Overlay"), ("framing", "Framing")):
        await set_up(console, film, tool, configs()[kind])
        ids[kind] = await console.export()
    await set_up(
        console, film, "Annotate", {"clips": [{"start_time": 500, "end_time": 501, "name": "Too late"}]}
    )
    await console.press_button("Export")
    await console.page.wait_for_selector(".badge.error")
    return ids["framing"]


async def set_up(console: ConsolePage, film: Path, tool: str, config: dict[str, Any]) -> None:
    await console.upload(film)
    await console.press_button(tool)
    area = console.page.get_by_label("Config as JSON")
    key = json.loads(await area.input_value())["input_key"]
    await area.fill(json.dumps({"input_key": key, **config}))
    await area.blur()


async def add_webhooks(service: ServiceProcess, receiver: PythonReceiver) -> str:
    """Add an endpoint that works and one that is switched off, and return the id of the first."""
    added = []
    for description in ("Shop", "Archive"):
        body = {"url": receiver.url, "description": description}
        answer = await service.http.post("/api/webhooks", json=body)
        added.append(answer.raise_for_status().json())
    await receiver.use_key(added[0]["secret"])
    await service.http.patch(f"/api/webhooks/{added[1]['id']}", json={"enabled": False})
    return str(added[0]["id"])


async def draw_pages(
    browser: Browser, service: ServiceProcess, receiver: PythonReceiver, film: Path, folder: Path
) -> None:
    """Draw every page in every look."""
    url = f"http://127.0.0.1:{service.port}"
    webhook = await add_webhooks(service, receiver)
    context = await browser.new_context(viewport={"width": 1360, "height": 900})
    async with open_console(context, url) as console:
        framing = await make_exports(console, film)
    await context.close()
    places = {
        "list": "#/",
        "export": f"#/exports/{framing}",
        "new": "#/new",
        "uploads": "#/uploads",
        "webhooks": "#/webhooks",
        "deliveries": f"#/webhooks/{webhook}",
        "system": "#/system",
    }
    for device, (width, height) in SIZES.items():
        for scheme in ("light", "dark"):
            context = await browser.new_context(
                viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
            )
            async with open_console(context, url) as console:
                for name, place in places.items():
                    await console.open(place)
                    if name == "deliveries":
                        await console.page.locator(".delivery summary").first.click()
                    await console.page.wait_for_selector(LOADED[name])
                    await console.wait_for_videos()
                    await console.page.screenshot(path=folder / f"{name}-{scheme}-{device}.png")
                for name, tool in TOOLS.items():
                    await set_up(console, film, tool, configs()[tool.lower()])
                    await console.page.get_by_text("takes about").wait_for()
                    await console.seek(0.35)
                    await console.page.evaluate("scrollTo(0, 0)")
                    await console.page.screenshot(path=folder / f"{name}-{scheme}-{device}.png")
            await context.close()


def shrink(source: Path, target: Path) -> None:
    """Write a picture for the documents: as wide as they are, in few colors."""
    with Image.open(source) as picture:
        width = min(SHOWN_WIDTH, picture.width)
        small = picture.convert("RGB").resize(
            (width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS
        )
    small.quantize(COLORS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
        target, optimize=True
    )
    sys.stdout.write(f"{target}  {small.width} x {small.height}, {target.stat().st_size // 1000} kB\n")


async def run(folder: Path, documents: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        film = footage.make_film(Path(name) / "match.mp4", contact_sheets.SECONDS, contact_sheets.SCALE)
        settings = {"WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8", "WEBHOOK_ALLOW_HTTP": "true"}
        with run_python_receiver(verify_with_standardwebhooks) as receiver:
            async with (
                ServiceProcess(Path(name) / "service", settings) as service,
                launch_chromium() as browser,
            ):
                await draw_pages(browser, service, receiver, film, folder)
    for source, target in SHOWN.items():
        shrink(folder / f"{source}.png", documents / f"{target}.png")


def main() -> None:
    """Draw the pages."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.console.screenshots", description="Draw the console."
    )
    parser.add_argument("--folder", type=Path, default=Path("var/screenshots"))
    parser.add_argument("--documents", type=Path, default=Path("service/docs/images"))
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(run(arguments.folder, arguments.documents))


if __name__ == "__main__":
    main()
