"""Parse the deployment files as their engines do."""

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.settings import Settings, load_settings

ROOT = Path(__file__).parents[3]
INFRA = ROOT / "infra"
SETTING_NAMES = {name.upper() for name in Settings.model_fields}
SECRET = "a secret for tokens that is long enough to be one"


def dockerfile_instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile, in order."""
    text = "\n".join(line for line in dockerfile().splitlines() if not line.lstrip().startswith("#"))
    lines = [line for line in text.replace("\\\n", "").splitlines() if line.strip()]
    return [(line.split()[0], line.split(maxsplit=1)[1].strip()) for line in lines]


def dockerfile() -> str:
    return (INFRA / "Dockerfile").read_text()


def last_stage() -> list[tuple[str, str]]:
    """Return the instructions of the last stage, which makes the image."""
    instructions = dockerfile_instructions()
    start = max(index for index, (name, _) in enumerate(instructions) if name == "FROM")
    return instructions[start:]


def instruction(name: str) -> str:
    (value,) = [value for other, value in last_stage() if other == name]
    return value


def image_environment() -> dict[str, str]:
    return dict(word.split("=", 1) for word in shlex.split(instruction("ENV")))


def health_command() -> list[str]:
    match = re.search(r"CMD\s+(\[.*\])", instruction("HEALTHCHECK"))
    assert match
    command: list[str] = json.loads(match[1])
    return command


def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((INFRA / "compose.yaml").read_text())
    return document


def read_env_file(path: Path) -> dict[str, str]:
    """Return the names and values of a file of `NAME=value` lines."""
    lines = path.read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def load_from_environment(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Load the settings as a service with this environment does; names that are no settings are left out."""
    for name in SETTING_NAMES:
        monkeypatch.delenv(name, raising=False)
    for name in SETTING_NAMES & set(environment):
        monkeypatch.setenv(name, environment[name])
    return load_settings(_env_file="")


def fly() -> dict[str, Any]:
    return tomllib.loads((INFRA / "fly.toml").read_text())
