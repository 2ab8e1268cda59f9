"""An export type from an installed package: through the service, the local runner and the command line."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.plugin_packages import install_plugin
from tests.support.service_process import ServiceProcess
from tests.support.thumbnail_strips import CONFIG, check_strip, write_ramp

pytestmark = pytest.mark.anyio


FAULTY = """
from dataclasses import replace
from thumbnail_strip import EXPORT_TYPE as STRIP

EXPORT_TYPE = replace(STRIP, name="faulty", plan=lambda config, sources: 1 / 0)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the package of `thumbnail_strip`, one that can't be imported, and one with a bug."""
    site = install_plugin("thumbnail_strip", tmp_path_factory.mktemp("plugin"))
    for name, code in {"broken": "import a_module_that_is_not_there\n", "faulty": FAULTY}.items():
        (site / f"{name}_type.py").write_text(code)
        metadata = site / f"{name}_type-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-type\nVersion: 1.0\n")
        entry_point = f"[framehook.export_types]\n{name} = {name}_type:EXPORT_TYPE\n"
        (metadata / "entry_points.txt").write_text(entry_point)
    return site


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_ramp(tmp_path / "ramp.mp4")


@pytest.fixture
async def service(tmp_path: Path, site: Path) -> AsyncIterator[ServiceProcess]:
    async with ServiceProcess(
        tmp_path / "service", {"PYTHONPATH": str(site), "ATTEMPT_LIMIT": "1"}
    ) as service:
        yield service


async def test_the_service_makes_and_serves_its_output(service: ServiceProcess, source: Path) -> None:
    content = await asyncio.to_thread(source.read_bytes)
    key = await service.upload(content)
    job_id = await service.submit_export({"input_key": key, **CONFIG}, kind="thumbnail_strip")
    job = await service.wait_until_ended(job_id)
    assert (job["status"], job["output_key"]) == ("complete", f"exports/{job_id}.png")
    download = await service.http.get(f"/api/exports/{job_id}/download")
    assert download.headers["content-type"] == "image/png"
    assert f'filename="{job_id}.png"' in download.headers["content-disposition"]
    check_strip(download.content, source)
    page = (await service.http.get("/api/exports", params={"type": "thumbnail_strip"})).json()
    assert [export["job_id"] for export in page["exports"]] == [job_id]


async def test_a_config_is_checked_and_an_unknown_type_is_refused_with_the_known_ones(
    service: ServiceProcess,
) -> None:
    wrong = {"type": "thumbnail_strip", "config": {"input_key": "match.mp4", "columns": 0}}
    problem = (await service.http.post("/api/exports", json=wrong)).json()
    assert (problem["status"], problem["errors"][0]["loc"]) == (422, ["config", "columns"])
    problem = (await service.http.post("/api/exports", json={"type": "gif", "config": {}})).json()
    assert (problem["status"], problem["errors"][0]["loc"]) == (422, ["type"])
    assert problem["detail"] == (
        "type: there is no export type 'gif'; the types are annotate, faulty, framing, overlay, thumbnail_strip"
    )


async def test_an_estimate_plans_it_and_says_what_it_knows(service: ServiceProcess, source: Path) -> None:
    key = await service.upload(await asyncio.to_thread(source.read_bytes))

    async def estimate(kind: str, **config: object) -> dict[str, object]:
        body = {"type": kind, "config": {"input_key": key, **CONFIG, **config}}
        answer: dict[str, object] = (await service.http.post("/api/exports/estimate", json=body)).json()
        return answer

    assert (await estimate("thumbnail_strip"))["output"] == {
        "width": 320,
        "height": 45,
        "duration": None,
        "size": None,
    }
    problem = await estimate("thumbnail_strip", columns=50, width=640)
    assert (problem["status"], problem["code"]) == (422, "strip_too_large")
    assert problem["errors"] == [{"loc": ["config"], "msg": problem["detail"]}]
    problem = await estimate("faulty")
    assert (problem["status"], problem["code"]) == (503, "unavailable")
    assert "The export type 'faulty' failed unexpectedly" in str(problem["detail"])


async def test_a_package_that_fails_to_import_is_one_line_of_the_log(service: ServiceProcess) -> None:
    lines = [line for line in service.log.splitlines() if "broken" in line]
    assert len(lines) == 1
    assert "an export type is left out: the export type 'broken' of broken-type can't be used" in lines[0]
    problem = (await service.http.post("/api/exports", json={"type": "broken", "config": {}})).json()
    assert (problem["status"], problem["errors"][0]["loc"]) == (422, ["type"])


async def test_a_bug_of_a_package_points_to_the_log_which_has_its_traceback(
    service: ServiceProcess, source: Path
) -> None:
    key = await service.upload(await asyncio.to_thread(source.read_bytes))
    job_id = await service.submit_export({"input_key": key, **CONFIG}, kind="faulty")
    job = await service.wait_until_ended(job_id)
    assert (job["status"], job["error"]["code"]) == ("error", "internal_error")
    assert (
        "The export type 'faulty' failed unexpectedly. The traceback is in the log" in job["error"]["message"]
    )
    assert "ZeroDivisionError" in service.log


async def test_the_command_line_exports_and_saves_it(
    service: ServiceProcess, site: Path, source: Path
) -> None:
    def framehook(*words: str) -> "subprocess.CompletedProcess[str]":
        server = ["--server", f"http://127.0.0.1:{service.port}"]
        return subprocess.run(
            [sys.executable, "-m", "service.cli.main", "export", str(source), *words, *server],
            env={**os.environ, "PYTHONPATH": str(site), "HOME": str(service.folder)},
            capture_output=True,
            text=True,
            check=False,
        )

    target = service.folder / "strip.png"
    result = framehook(
        "--type", "thumbnail_strip", "--config", '{"columns": 4, "width": 80}', "--output", str(target)
    )
    assert result.returncode == 0, result.stderr
    check_strip(target.read_bytes(), source)
    wrong = framehook("--type", "thumbnail_strip", "--config", '{"column": 4}')
    assert "unknown field; did you mean 'columns'?" in wrong.stderr
    unknown = framehook("--type", "thumbnails")
    assert unknown.returncode == 2
    assert "there is no export type 'thumbnails'; the types are annotate" in unknown.stderr


def test_the_command_line_lists_it(site: Path) -> None:
    listing = subprocess.run(
        [sys.executable, "-m", "service.cli.main", "types", "--json"],
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert {
        "type": "thumbnail_strip",
        "content_type": "image/png",
        "suffix": ".png",
        "description": "Put frames of a video at even intervals side by side in one image.",
    } in json.loads(listing.stdout)
