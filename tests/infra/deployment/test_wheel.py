"""The wheel holds everything that runs, and nothing else."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.infra.deployment.deployment_files import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_the_wheel_holds_the_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    sources = {
        str(path.relative_to(ROOT)).removeprefix("service/python/")
        for package in ("callbacks", "gpu", "infra", "service")
        for path in (ROOT / package).rglob("*.py")
    }
    markers = {f"{package}/py.typed" for package in ("callbacks", "framehook", "gpu", "infra", "service")}
    others = {"service/migrations/script.py.mako", "gpu/requirements.lock"}
    pages = (path for path in (ROOT / "service" / "web").rglob("*") if path.is_file())
    others |= {str(path.relative_to(ROOT)) for path in pages}
    assert names >= sources | markers | others
    assert not [name for name in names if name.startswith(("tests/", "var/"))]
    assert {Path(name).suffix for name in names - sources - markers - others} <= {
        ".js",
        ".html",
        ".css",
        ".svg",
        ".py",
        ".md",
        ".png",
    }


def test_the_wheel_has_the_lock_file_for_the_modal_image(wheel: zipfile.ZipFile) -> None:
    assert wheel.read("gpu/requirements.lock") == (ROOT / "requirements.lock").read_bytes()
