"""The image, as its Dockerfile describes it: linted, pinned, without secrets, for nobody in particular."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.infra.deployment.deployment_files import (
    INFRA,
    KNOWN,
    ROOT,
    dockerfile,
    image_environment,
    instructions,
    last_stage,
    only,
)

BIN = Path(sys.executable).parent


def test_the_dockerfile_has_nothing_to_be_said_against() -> None:
    found = subprocess.run(
        [BIN / "hadolint", "--no-color", INFRA / "Dockerfile"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stdout) == (0, "")


def test_both_stages_begin_with_one_python_of_a_pinned_version() -> None:
    found = instructions()
    (version,) = [value for name, value in found if name == "ARG"]
    assert re.fullmatch(r"PYTHON=3\.\d+\.\d+-slim-\w+", version)
    bases = [value.split()[0] for name, value in found if name == "FROM"]
    assert bases == ["python:${PYTHON}"] * 2
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert version.removeprefix("PYTHON=").startswith(oldest.removeprefix(">="))


def test_the_image_runs_as_nobody_in_particular_and_holds_no_compiler() -> None:
    stage = last_stage()
    assert re.fullmatch(r"[1-9]\d{4,}:[1-9]\d{4,}", only("USER"))
    assert not any(
        re.search(r"pip |apt|gcc|build-essential", value) for name, value in stage if name == "RUN"
    )
    assert ("VOLUME", image_environment()["DATA_DIR"]) in stage
    assert [name for name, _ in stage][-1] == "CMD"


def test_everything_that_is_installed_has_a_locked_version() -> None:
    installs = re.findall(r"pip install [^&]*", dockerfile().replace("\\\n", ""))
    assert installs
    assert all("--only-binary=:all:" in line or "--no-deps" in line for line in installs)
    assert "PIP_CONSTRAINT=/build/requirements.lock" in dockerfile()
    locked = {line.split("==")[0] for line in (ROOT / "requirements.lock").read_text().splitlines()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = project["project"]["dependencies"] + project["build-system"]["requires"]
    assert {re.split(r"[\[<>=;]", line)[0] for line in wanted} <= locked


def test_what_is_copied_is_there_and_let_in() -> None:
    let_in = {
        line[1:]
        for line in (INFRA / "Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = [
        path
        for name, value in instructions()
        if name == "COPY" and "--from" not in value
        for path in value.split()[:-1]
    ]
    assert set(copied) == let_in
    assert all((ROOT / path).exists() for path in copied)


def test_the_image_knows_settings_and_no_secrets() -> None:
    environment = image_environment()
    ours = set(environment) - {"PATH", "HOME", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"}
    assert ours <= KNOWN
    assert not any(re.search("SECRET|TOKEN|KEY|PASSWORD", name) for name in environment)
    assert not any(name in ("ARG", "ENV") and "SECRET" in value for name, value in instructions())
