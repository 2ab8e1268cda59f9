"""The image of the Modal app: locked dependencies, the video code, and the packages that add export types.

A package with entry points in the group `framehook.export_types` that is installed where `framehook modal deploy` runs
becomes part of the image: its requirements by pip, within the versions of the lock, then its source and metadata, so
that the registry finds its types in a container as it does here. After such a package is installed, changed or removed,
the app has to be deployed again.
"""

import atexit
import os
import shlex
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

import modal

from gpu.export_types.packages import TypePackage, list_type_packages

PACKAGES = (
    "av",
    "boto3",
    "fontpkg-noto-sans",
    "httpx",
    "justmytype-intl-rtl",
    "justmytype-intl-sea",
    "justmytype-intl-south-asia",
    "manimgx-fonts",
    "msgspec",
    "noto-cjk-sans-otc",
    "numpy",
    "pillow",
    "pydantic",
    "uharfbuzz",
)
"""What the video code imports, and the fonts that it draws with."""
LOCKS = (Path(__file__).with_name("requirements.lock"), Path(__file__).parents[1] / "requirements.lock")
"""Where the lock is: in an installed package, or at the root of the sources."""
RELEASE_VARIABLE = "FRAMEHOOK_RELEASE"
SOURCES = "/root"
"""The folder of a container in which Modal puts Python sources, and which is on Python's path."""
_BYTECODE = ("**/__pycache__", "**/*.pyc")


def build_image(environment: dict[str, str]) -> modal.Image:
    """Return the image with the versions that the tests run with, and nothing of the service."""
    lock = next(path for path in LOCKS if path.exists())
    type_packages = list_type_packages()
    requirements = [*PACKAGES, *(name for package in type_packages for name in package.requirements)]
    image = (
        modal.Image.debian_slim(python_version="3.11")
        .add_local_file(lock, "/requirements.lock", copy=True)
        .run_commands(
            f"python -m pip install --no-cache-dir -c /requirements.lock {shlex.join(requirements)}"
        )
        # Without cbor, exceptions of a chunk would be unpickled in the export, as types of their own.
        .env({"PYTHONUNBUFFERED": "1", "MODAL_PAYLOAD_FORMAT": "cbor"} | environment)
        .add_local_python_source("gpu", "callbacks")
    )
    for package in type_packages:
        image = _add_package(image, package)
    return image


def read_release() -> str:
    """Return the release that is deployed; a container, which has the code alone, knows it by a variable."""
    return os.environ.get(RELEASE_VARIABLE) or version("framehook")


def _add_package(image: modal.Image, package: TypePackage) -> modal.Image:
    """Add the source of a package, with its data files, and its metadata."""
    folder = Path(tempfile.mkdtemp(prefix="framehook-metadata-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # Modal reads the files later, as it deploys
    for name, text in package.metadata.items():
        (folder / name).write_text(text, encoding="utf-8")
    return image.add_local_python_source(*sorted(package.modules), ignore=_BYTECODE).add_local_dir(
        folder, f"{SOURCES}/{package.metadata_folder}"
    )
