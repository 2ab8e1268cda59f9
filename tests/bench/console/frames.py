"""Record the frames of a page, and what each cost its main thread."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

from playwright.async_api import CDPSession, Page

from tests.bench.measure.samples import Samples, percentile

FRAME_MILLISECONDS = 1000 / 60
_LATE = 1.5
_START = """() => {
    window.recordedFrames = [];
    const tick = (now) => {
        window.recordedFrames.push(now);
        window.recording = requestAnimationFrame(tick);
    };
    window.recording = requestAnimationFrame(tick);
}"""
_STOP = """() => {
    cancelAnimationFrame(window.recording);
    return window.recordedFrames;
}"""


@dataclass
class Frames:
    """Times between frames and main-thread time of each, in milliseconds, after the recording."""

    intervals: list[float] = field(default_factory=list)
    busy_milliseconds: float = 0.0

    def add_to(self, samples: Samples, variant: str) -> None:
        late = sum(interval > _LATE * FRAME_MILLISECONDS for interval in self.intervals)
        samples.add(variant, "frame, median", percentile(self.intervals, 50), "ms")
        samples.add(variant, "frame, 95th", percentile(self.intervals, 95), "ms")
        samples.add(variant, "frame, 99th", percentile(self.intervals, 99), "ms")
        samples.add(variant, "late frames", 100 * late / len(self.intervals), "%")
        samples.add(variant, "main thread a frame", self.busy_milliseconds, "ms")


@asynccontextmanager
async def record_frames(page: Page) -> AsyncIterator[Frames]:
    """Record while the body runs; frames come from `requestAnimationFrame`, main-thread time from the browser."""
    session = await page.context.new_cdp_session(page)
    await session.send("Performance.enable")
    frames = Frames()
    await page.evaluate(_START)
    begun = await _read_task_seconds(session)
    yield frames
    ended = await _read_task_seconds(session)
    times = await page.evaluate(_STOP)
    frames.intervals = [after - before for before, after in pairwise(times)]
    frames.busy_milliseconds = 1000 * (ended - begun) / len(frames.intervals)
    await session.detach()


async def _read_task_seconds(session: CDPSession) -> float:
    metrics = (await session.send("Performance.getMetrics"))["metrics"]
    return next(float(metric["value"]) for metric in metrics if metric["name"] == "TaskDuration")
