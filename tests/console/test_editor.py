"""Exports of each type are set up by mouse and keyboard, and come out as they were set up."""

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote

import numpy as np
from playwright.async_api import FileChooser, expect

from tests.console.console_page import ConsolePage
from tests.console.gradient_video import FPS, HEIGHT, SECONDS, WIDTH, find_left_edge, read_luma
from tests.support.service_process import ServiceProcess

TOLERANCE = 0.02 * WIDTH
CROP_WIDTH = HEIGHT * 9 / 16


async def download(service: ServiceProcess, job_id: str, folder: Path) -> Path:
    path = folder / "export.mp4"
    path.write_bytes((await service.http.get(f"/api/exports/{job_id}/download")).content)
    return path


async def read_config(console: ConsolePage) -> dict[str, object]:
    config: dict[str, object] = json.loads(await console.page.get_by_label("Config as JSON").input_value())
    return config


async def test_crops_that_are_placed_with_the_mouse_are_there_in_the_exported_frames(
    console: ConsolePage, service: ServiceProcess, gradient: Path, tmp_path: Path
) -> None:
    await console.upload(gradient)
    await console.page.get_by_label("Quality").select_option("high")
    await console.drag((0.5, 0.5), (0.25, 0.5))
    await console.seek(0.5)
    await console.drag((0.25, 0.5), (0.75, 0.5))
    keyframes = (await read_config(console))["keyframes"]
    path = await download(service, await console.export(), tmp_path)

    assert isinstance(keyframes, list)
    assert [round(keyframe["time"], 1) for keyframe in keyframes] == [0, SECONDS / 2]
    for keyframe, center in zip(keyframes, (0.25, 0.75), strict=True):
        left = find_left_edge(read_luma(path, keyframe["time"]))
        assert abs(left - keyframe["x"]) < TOLERANCE
        assert abs(left - (center * WIDTH - CROP_WIDTH / 2)) < TOLERANCE
    halfway = find_left_edge(read_luma(path, SECONDS / 4))
    assert abs(halfway - (WIDTH - CROP_WIDTH) / 2) < TOLERANCE


async def test_an_ellipse_that_is_placed_with_the_mouse_is_there_in_the_exported_frames(
    console: ConsolePage, service: ServiceProcess, gradient: Path, tmp_path: Path
) -> None:
    await console.upload(gradient)
    await console.press_button("Overlay")
    await console.press_button("Add highlight")
    await console.drag((0.5, 0.5), (0.75, 0.4))
    strength = console.page.get_by_label("Strength")
    await strength.focus()
    await strength.press("End")
    path = await download(service, await console.export(), tmp_path)

    lit = read_luma(path, 1.0) > 60
    rows, columns = np.nonzero(lit)
    assert abs(columns.mean() - 0.75 * WIDTH) < TOLERANCE
    assert abs(rows.mean() - 0.4 * HEIGHT) < TOLERANCE
    assert lit.mean() < 0.5


async def test_clips_are_marked_named_and_ordered_with_the_keyboard(
    console: ConsolePage, service: ServiceProcess, gradient: Path
) -> None:
    await console.upload(gradient)
    await console.press_button("Annotate")
    await console.page.get_by_role("slider", name="Playhead").focus()
    for presses in (6, 9):
        await console.page.keyboard.press("i")
        for _ in range(presses):
            await console.page.keyboard.press("ArrowRight")
            await console.wait_for_frame()
        await console.page.keyboard.press("o")
    await console.page.get_by_label("Name", exact=True).fill("Second half")
    await console.page.get_by_role("button", name="4 of 5 stars").press("Enter")
    await console.page.get_by_role("button", name="Move up").last.press("Enter")
    config = await read_config(console)
    job = await service.get_export(await console.export())

    clips = config["clips"]
    assert isinstance(clips, list)
    assert [(clip["name"], clip.get("rating")) for clip in clips] == [("Second half", 4), ("Clip 1", None)]
    assert [round((clip["end_time"] - clip["start_time"]) * FPS) for clip in clips] == [10, 7]
    assert abs(job["output"]["duration"] - 17 / FPS) < 1 / FPS


async def test_an_annotated_film_is_made_with_the_keyboard_alone(
    console: ConsolePage, service: ServiceProcess, gradient: Path
) -> None:
    choosers: asyncio.Queue[FileChooser] = asyncio.Queue()
    console.page.on("filechooser", choosers.put_nowait)
    await console.open("#/")
    await console.focus_by_tab("New export")
    await console.page.keyboard.press("Enter")
    await console.page.locator("#file").wait_for(state="attached")
    await console.focus_by_tab("Choose a file")
    await console.page.keyboard.press("Enter")
    await (await choosers.get()).set_files(gradient)
    await console.wait_for_stage()
    await console.focus_by_tab("Annotate")
    await console.page.keyboard.press("Enter")
    await console.focus_by_tab("Playhead")
    await console.page.keyboard.press("i")
    await console.page.keyboard.press("Shift+ArrowRight")
    await console.wait_for_frame()
    await console.page.keyboard.press("o")
    await console.focus_by_tab("Name")
    await console.page.keyboard.press("Control+a")
    await console.page.keyboard.type("The goal")
    await console.focus_by_tab("5 of 5 stars")
    await console.page.keyboard.press("Space")
    await console.focus_by_tab("Export")
    await console.page.keyboard.press("Enter")
    await console.page.wait_for_selector(".badge.complete")
    job_id = console.page.url.rpartition("/")[2]

    request = (await service.http.get(f"/api/exports/{job_id}/request")).json()
    [clip] = request["config"]["clips"]
    assert (clip["name"], clip["rating"], clip["start_time"]) == ("The goal", 5, 0)
    assert round(clip["end_time"] * FPS) == 11


async def test_clips_are_put_into_order_with_the_mouse(console: ConsolePage, gradient: Path) -> None:
    await console.upload(gradient)
    await console.press_button("Annotate")
    for end in (0.2, 0.5, 0.8):
        await console.seek(end)
        await console.press_button("Mark out (O)")
    items = console.page.locator(".clips li")
    await items.nth(2).drag_to(items.nth(0))
    await expect(items.nth(0)).to_contain_text("Clip 3")
    await items.nth(1).drag_to(items.nth(2))
    clips = (await read_config(console))["clips"]
    assert isinstance(clips, list)
    assert [clip["name"] for clip in clips] == ["Clip 3", "Clip 2", "Clip 1"]


async def test_what_was_set_up_is_there_after_a_reload_and_undo_leads_back(
    console: ConsolePage, gradient: Path
) -> None:
    await console.upload(gradient)
    first = await read_config(console)
    await console.drag((0.5, 0.5), (0.3, 0.5))
    moved = await read_config(console)
    await console.page.reload()
    await console.wait_for_stage()
    assert await read_config(console) == moved

    await console.drag((0.3, 0.5), (0.6, 0.5))
    await console.page.keyboard.press("Control+z")
    assert await read_config(console) == moved
    await console.page.keyboard.press("Control+Shift+z")
    assert await read_config(console) not in (moved, first)


async def test_the_config_is_edited_as_text_too_and_text_that_is_no_config_breaks_nothing(
    console: ConsolePage, gradient: Path
) -> None:
    await console.upload(gradient)
    area = console.page.get_by_label("Config as JSON")
    config = await read_config(console)
    crop = {"time": 0, "x": 10, "y": 20, "width": 100, "height": 120}
    await area.fill(json.dumps(config | {"keyframes": [crop]}))
    await expect(console.page.get_by_label("Left (px)")).to_have_value("10")
    for nonsense in ("{", "[]", '{"keyframes": 7}', '{"keyframes": [{}]}'):
        await area.fill(nonsense)
        await expect(console.page.locator("#config-problem")).not_to_be_empty()
    await console.press_button("Undo")
    await area.blur()
    await console.drag((0.05, 0.2), (0.3, 0.4))


async def test_an_export_that_the_service_refuses_says_why_and_keeps_what_was_set_up(
    console: ConsolePage, gradient: Path
) -> None:
    await console.upload(gradient)
    area = console.page.get_by_label("Config as JSON")
    await area.fill(json.dumps(await read_config(console) | {"output_width": 33}))
    await console.press_button("Export")
    await console.page.get_by_text("output_width").first.wait_for()
    assert "#/new" in console.page.url


async def test_an_export_is_estimated_and_gets_its_name_order_and_limits(
    console: ConsolePage, service: ServiceProcess, gradient: Path
) -> None:
    await console.upload(gradient)
    page = console.page
    await expect(page.get_by_text(re.compile(r"free, 1080.1920, 3\.0 s"))).to_be_visible()
    await page.get_by_text("More: name, order, limits").click()
    written = {"Export name": "First goal", "Project": "match-7", "Maximum cost ($)": "2.5"}
    written |= {"Delete the file after (days)": "3", "Fail if not complete within (s)": "600"}
    for label, text in written.items():
        await page.get_by_label(label, exact=True).fill(text)
    await page.get_by_label("Metadata").fill("order=A-1024\nplayer = 7")
    start = f"{datetime.now(UTC).date() + timedelta(days=2)}T10:30"
    await page.get_by_label("Start not before").fill(start)
    await page.get_by_label("Priority").select_option("high")
    await page.reload()
    await console.wait_for_stage()
    await console.press_button("Export")
    await expect(page.get_by_text("starts at")).to_be_visible()
    job = await service.get_export(unquote(page.url.rpartition("/")[2]))
    assert {name: job[name] for name in ("name", "project_id", "priority", "max_cost_usd", "metadata")} == {
        "name": "First goal",
        "project_id": "match-7",
        "priority": "high",
        "max_cost_usd": 2.5,
        "metadata": {"order": "A-1024", "player": "7"},
    }
    lifetime = datetime.fromisoformat(job["expires_at"]) - datetime.fromisoformat(job["created_at"])
    assert lifetime == timedelta(days=3)
    assert job["not_before"] == await page.evaluate("time => new Date(time).toISOString()", start)
