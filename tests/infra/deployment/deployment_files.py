"""The files that deploy, read as an engine reads them."""

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import yaml

from service.settings import Settings

ROOT = Path(__file__).parents[3]
INFRA = ROOT / "infra"
KNOWN = {name.upper() for name in Settings.model_fields}
SECRET = "a secret for tokens that is long enough to be one"


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, in order."""
    text = "\n".join(line for line in dockerfile().splitlines() if not line.lstrip().startswith("#"))
    lines = [line for line in text.replace("\\\n", "").splitlines() if line.strip()]
    return [(line.split()[0], line.split(maxsplit=1)[1].strip()) for line in lines]


def dockerfile() -> str:
    return (INFRA / "Dockerfile").read_text()


def last_stage() -> list[tuple[str, str]]:
    """What makes the image that is shipped; the stages before are thrown away."""
    found = instructions()
    begins = max(at for at, (name, _) in enumerate(found) if name == "FROM")
    return found[begins:]


def only(name: str) -> str:
    (value,) = [value for found, value in last_stage() if found == name]
    return value


def image_environment() -> dict[str, str]:
    return dict(word.split("=", 1) for word in shlex.split(only("ENV")))


def health_command() -> list[str]:
    found = re.search(r"CMD\s+(\[.*\])", only("HEALTHCHECK"))
    assert found
    command: list[str] = json.loads(found[1])
    return command


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((INFRA / "compose.yaml").read_text())
    return found


def fly() -> dict[str, Any]:
    return tomllib.loads((INFRA / "fly.toml").read_text())
