"""What the image installs has the versions that the tests run with, and a hash for every file."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.infra.deployment.deployment_files import INFRA, ROOT

LOCKS = INFRA / "locks"
IMAGE: dict[str, str] = {
    **{name: str(value) for name, value in default_environment().items()},
    "python_version": "3.11",
    "python_full_version": "3.11.14",
    "platform_python_implementation": "CPython",
    "sys_platform": "linux",
}


def read_versions(text: str) -> dict[str, str]:
    """Return the versions of a lock, as the image installs them."""
    requirements = [Requirement(line.rstrip(" \\")) for line in re.findall(r"^\w.*", text, re.MULTILINE)]
    return {
        canonicalize_name(requirement.name): str(requirement.specifier)
        for requirement in requirements
        if requirement.marker is None or requirement.marker.evaluate(IMAGE)
    }


@pytest.mark.parametrize("lock", ["service.txt", "build.txt"])
def test_a_lock_has_the_versions_of_the_tests_and_a_hash_for_each(lock: str) -> None:
    text = (LOCKS / lock).read_text()
    tested = read_versions((ROOT / "requirements.lock").read_text())
    for name, version in read_versions(text).items():
        assert version == tested[name], name
    assert not re.search(r"://|--(?:extra-)?index-url|--find-links", text)
    entries = re.split(r"\n(?=\w)", text.strip())
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", entry) for entry in entries)


def test_the_locks_have_all_that_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    runs = project["project"]["dependencies"] + project["project"]["optional-dependencies"]["tracing"]
    for lock, wanted in {"service.txt": runs, "build.txt": project["build-system"]["requires"]}.items():
        versions = read_versions((LOCKS / lock).read_text())
        for requirement in map(Requirement, wanted):
            if requirement.marker is None or requirement.marker.evaluate(IMAGE):
                version = versions[canonicalize_name(requirement.name)].removeprefix("==")
                assert requirement.specifier.contains(version), requirement


def test_the_bill_of_materials_lists_every_package_with_its_version(tmp_path: Path) -> None:
    file = tmp_path / "sbom.json"
    command = ["make", "--no-print-directory", "--dry-run", "sbom", f"OUTPUT={file}"]
    recipe = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    line = next(line for line in recipe.replace("\\\n", "").splitlines() if "cyclonedx-py" in line)
    words = [str(Path(sys.executable).parent / "cyclonedx-py"), *line.split()[1:], "--no-validate"]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    bill = json.loads(file.read_text())
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == "framehook"
    listed = {canonicalize_name(part["name"]): f"=={part['version']}" for part in bill["components"]}
    assert listed == read_versions((LOCKS / "service.txt").read_text())
