"""An export type from an installed package on Modal: deployed with the app, found in a container."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gpu.export_types.packages import list_type_packages
from gpu.export_types.registry import get_export_types
from infra.modal_local import ModalLocal
from tests.flows.on_modal.conftest import deploy_app
from tests.flows.on_modal.modal_harness import create_runner, open_harness
from tests.support.plugin_packages import install_plugin
from tests.support.thumbnail_strips import CONFIG, check_strip, write_ramp

pytestmark = pytest.mark.anyio


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the installed package, on the path of the service, which runs in this process."""
    site = install_plugin("thumbnail_strip", tmp_path / "plugin")
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", str(site))  # for the process that checks outputs
    get_export_types.cache_clear()
    yield site
    get_export_types.cache_clear()


async def test_a_package_s_type_runs_in_a_container(
    plane: ModalLocal, data_dir: Path, site: Path, tmp_path: Path
) -> None:
    source = write_ramp(tmp_path / "ramp.mp4")
    await deploy_app(plane, "-m", "gpu.modal_app", MODAL_APP_NAME="strips")
    async with open_harness(plane, data_dir, create_runner(plane, "strips")) as harness:
        config = {"input_key": await harness.upload(source.read_bytes()), **CONFIG}
        body = {"type": "thumbnail_strip", "config": config}
        job_id = (await harness.http.post("/api/exports", json=body)).json()["job_id"]
        job = await harness.wait_ended(job_id)
        assert (job["status"], job["runner"], job["output_key"]) == (
            "complete",
            "modal",
            f"exports/{job_id}.png",
        )
        download = await harness.http.get(f"/api/exports/{job_id}/download")
        assert download.headers["content-type"] == "image/png"
        check_strip(download.content, source)


async def test_an_app_that_was_deployed_without_the_package_says_so_at_once(
    plane: ModalLocal, data_dir: Path, site: Path, tmp_path: Path
) -> None:
    source = write_ramp(tmp_path / "ramp.mp4")
    async with open_harness(plane, data_dir, attempt_limit=1, silence_seconds=86_400.0) as harness:
        config = {"input_key": await harness.upload(source.read_bytes()), **CONFIG}
        body = {"type": "thumbnail_strip", "config": config}
        job_id = (await harness.http.post("/api/exports", json=body)).json()["job_id"]
        error = (await harness.wait_ended(job_id))["error"]
        assert error["code"] == "unknown_export_type"
        assert "deploy again" in error["message"]


def test_a_package_is_described_with_its_metadata_and_without_framehook(site: Path) -> None:
    (package,) = list_type_packages()
    assert (package.name, [*package.modules]) == ("framehook-thumbnail-strip", ["thumbnail_strip"])
    assert package.requirements == ("pillow",)
    assert package.metadata_folder == "framehook_thumbnail_strip-1.0.dist-info"
    assert "thumbnail_strip:EXPORT_TYPE" in package.metadata["entry_points.txt"]
