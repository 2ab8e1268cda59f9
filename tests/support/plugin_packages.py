"""Packages with export types, installed for tests into folders of their own."""

import subprocess
import sys
from pathlib import Path
from shutil import copytree

PLUGINS = Path(__file__).parents[1] / "plugins"


def install_plugin(name: str, folder: Path) -> Path:
    """Build and install a package of tests/plugins with pip, without network; return its folder for PYTHONPATH."""
    source, site = copytree(PLUGINS / name, folder / "source"), folder / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--no-build-isolation", "--no-index", "--target", str(site), str(source)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return site
