"""How fast the console shows its list, and how smooth it is while a user drags and scrolls.

The page runs in a headless Chromium, which draws in software on the same cores as the service. `idle` is the same
page without any input: what this machine can do at all. Main-thread time leaves out what the compositor and the
decoder of the video take.
"""

import asyncio
import math
import sqlite3
import tempfile
import time
from pathlib import Path

from playwright.async_api import Browser

from tests.bench.benchmark import Benchmark, Figure, Options, Size
from tests.bench.console.frames import record_frames
from tests.bench.ingest.rows import COLUMNS, row
from tests.bench.measure.samples import Samples, alternate
from tests.bench.video.peers import prepare_film
from tests.console.console_page import ConsolePage, open_console
from tests.support.browser.chromium import launch_chromium
from tests.support.service_process import ServiceProcess

FIRST_ROW = """() => {
    const look = () => {
        if (document.querySelector(".row, .drop:not([hidden])")) window.listShown = performance.now();
        else requestAnimationFrame(look);
    };
    addEventListener("DOMContentLoaded", look);
}"""
CHANGE_EACH_FRAME = """async ([exports, frames]) => {
    const { ExportStore } = await import("/console/export_store.js");
    const { button } = await import("/console/dom.js");
    const { default: ListPage } = await import("/console/list_page.js");
    const time = (index) => new Date(Date.UTC(2026, 0, 1) + index * 60_000).toISOString();
    const jobs = Array.from({ length: exports }, (_, index) => ({
        job_id: `job-${index}`, type: "framing", status: "processing", phase: "processing", progress: 0, error: null,
        sequence: 1, input_key: "uploads/a.mp4", output: null, created_at: time(index), acknowledged_at: null,
        project_id: null, metadata: {}, eta_seconds: 9,
    })).reverse();
    const call = async () => ({ exports: jobs, next_cursor: null });
    const messages = { areNotificationsOn: false };
    const store = new ExportStore({}, { onProgress: () => {} });
    const page = new ListPage({ button, call, store, messages });
    document.querySelector("main").replaceChildren(page.element);
    await page.start();
    for (let number = 1; number <= frames; number += 1) {
        const job = jobs[(number * 37) % exports];
        store.merge([{ ...job, sequence: number + 1, progress: number % 100 }]);
        await new Promise(requestAnimationFrame);
    }
    page.close();
}"""


def run(options: Options) -> list[Figure]:
    """Measure each scene in turn."""
    return asyncio.run(_run(options))


async def _run(options: Options) -> list[Figure]:
    samples, exports = Samples(), options.sizes["exports"]
    film = prepare_film(2, height=1080)
    with tempfile.TemporaryDirectory() as name:
        async with ServiceProcess(Path(name)) as service, launch_chromium() as browser:
            for count in (0, exports):
                _insert_exports(Path(name) / "var" / "framehook.db", count)
                for _ in range(options.rounds):
                    await _measure_first_list(browser, service, samples, f"list of {count:,} exports")
            context = await browser.new_context(viewport={"width": 1360, "height": 900})
            async with open_console(context, f"http://127.0.0.1:{service.port}") as console:
                for scene in alternate([_idle, _drag_crop, _scroll_list, _change_list], options.rounds):
                    await scene(console, samples, film, options)
    return samples.to_figures()


def _insert_exports(path: Path, count: int) -> None:
    rows = [row(f"01a00000-0000-7000-8000-{number:012}", status="complete") for number in range(count)]
    with sqlite3.connect(path, timeout=10) as connection:
        places = ", ".join("?" * len(row("")))
        connection.executemany(f"INSERT INTO export_jobs ({COLUMNS}) VALUES ({places})", rows)  # noqa: S608


async def _measure_first_list(browser: Browser, service: ServiceProcess, samples: Samples, name: str) -> None:
    """Open the console in a new profile; time runs from the navigation to the frame with the first row."""
    context = await browser.new_context()
    await context.add_init_script(f"({FIRST_ROW})()")
    page = await context.new_page()
    await page.goto(f"http://127.0.0.1:{service.port}/")
    await page.wait_for_selector(".row, .drop:not([hidden])")
    shown = await page.evaluate("new Promise(requestAnimationFrame).then(() => window.listShown)")
    samples.add(name, "shown", float(shown), "ms")
    await context.close()


async def _idle(console: ConsolePage, samples: Samples, film: Path, options: Options) -> None:
    await console.upload(film)
    async with record_frames(console.page) as frames:
        await asyncio.sleep(options.sizes["frames"] / 60)
    frames.add_to(samples, "idle")


async def _drag_crop(console: ConsolePage, samples: Samples, film: Path, options: Options) -> None:
    await console.upload(film)
    box = await console.box(console.page.locator(".stage"))
    center = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    await console.page.mouse.move(*center)
    await console.page.mouse.down()
    count = options.sizes["frames"]
    async with record_frames(console.page) as frames:
        ends = time.monotonic() + count / 60
        while time.monotonic() < ends:
            angle = 2 * math.pi * (ends - time.monotonic())
            await console.page.mouse.move(center[0] + 0.3 * box["width"] * math.sin(angle), center[1])
    await console.page.mouse.up()
    frames.add_to(samples, "crop dragged on 1080p")


async def _scroll_list(console: ConsolePage, samples: Samples, film: Path, options: Options) -> None:
    await console.open("#/")
    await console.page.locator(".row").first.wait_for()
    area = await console.box(console.page.locator(".list"))
    await console.page.mouse.move(area["x"] + 50, area["y"] + 50)
    async with record_frames(console.page) as frames:
        ends = time.monotonic() + options.sizes["frames"] / 60
        while time.monotonic() < ends:
            await console.page.mouse.wheel(0, 300)
    frames.add_to(samples, f"list of {options.sizes['exports']:,} exports scrolled")


async def _change_list(console: ConsolePage, samples: Samples, film: Path, options: Options) -> None:
    await console.open("#/system")
    async with record_frames(console.page) as frames:
        sizes = [options.sizes["exports"], options.sizes["frames"]]
        await console.page.evaluate(CHANGE_EACH_FRAME, sizes)
    frames.add_to(samples, f"{options.sizes['exports']:,} exports, one changes each frame")


BENCHMARK = Benchmark(
    description="The console in a headless Chromium: its first list, and frames while a user drags and scrolls.",
    run=run,
    rounds=3,
    sizes={"exports": Size(5_000, smoke=150), "frames": Size(180, smoke=20)},
)
