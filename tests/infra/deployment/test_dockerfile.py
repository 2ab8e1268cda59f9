"""The Dockerfile pins its versions, holds no secret and runs as an unprivileged user."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.infra.deployment.deployment_files import (
    INFRA,
    ROOT,
    SETTING_NAMES,
    dockerfile,
    dockerfile_instructions,
    image_environment,
    instruction,
    last_stage,
)

BIN = Path(sys.executable).parent


def test_hadolint_finds_nothing() -> None:
    result = subprocess.run(
        [BIN / "hadolint", "--no-color", INFRA / "Dockerfile"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout) == (0, "")


def test_both_stages_use_the_same_pinned_python() -> None:
    instructions = dockerfile_instructions()
    (version,) = [value for name, value in instructions if name == "ARG"]
    assert re.fullmatch(r"PYTHON=3\.\d+\.\d+-slim-\w+@sha256:[0-9a-f]{64}", version)
    bases = [value.split()[0] for name, value in instructions if name == "FROM"]
    assert bases == ["python:${PYTHON}"] * 2
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert version.removeprefix("PYTHON=").startswith(oldest.removeprefix(">="))


def test_the_image_runs_as_an_unprivileged_user_and_has_no_compiler() -> None:
    stage = last_stage()
    assert re.fullmatch(r"[1-9]\d{4,}:[1-9]\d{4,}", instruction("USER"))
    assert not any(
        re.search(r"pip |apt|gcc|build-essential", value) for name, value in stage if name == "RUN"
    )
    assert ("VOLUME", image_environment()["DATA_DIR"]) in stage
    assert [name for name, _ in stage][-1] == "CMD"


def test_everything_that_is_installed_is_a_wheel_with_a_known_hash() -> None:
    installs = re.findall(r"pip install [^&\n]*", dockerfile().replace("\\\n", ""))
    own = [line for line in installs if "--no-deps dist/*.whl" in line]
    others = [line for line in installs if line not in own]
    assert (len(own), len(others)) == (1, 2)
    assert all("--require-hashes" in line and "--only-binary=:all:" in line for line in others)
    assert {line.split("-r ")[1].strip() for line in others} == {
        "infra/locks/service.txt",
        "infra/locks/build.txt",
    }


def test_every_copied_path_exists_and_is_not_ignored() -> None:
    allowed = {
        line[1:]
        for line in (INFRA / "Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = [
        path
        for name, value in dockerfile_instructions()
        if name == "COPY" and "--from" not in value
        for path in value.split()[:-1]
    ]
    assert {path.partition("/")[0] for path in copied} == allowed
    assert all((ROOT / path).exists() for path in copied)


def test_files_with_secrets_are_no_part_of_the_build() -> None:
    ignored = (INFRA / "Dockerfile.dockerignore").read_text().splitlines()
    assert {"**/.env*", "**/secrets.env"} <= set(ignored)
    assert {".env", "secrets.env"} <= set((ROOT / ".gitignore").read_text().splitlines())


def test_the_image_sets_settings_and_no_secret() -> None:
    environment = image_environment()
    names = set(environment) - {"PATH", "HOME", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"}
    assert names <= SETTING_NAMES
    assert not any(re.search("SECRET|TOKEN|KEY|PASSWORD", name) for name in environment)
    assert not any(name in ("ARG", "ENV") and "SECRET" in value for name, value in dockerfile_instructions())
