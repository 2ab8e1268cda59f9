"""An environment without settings."""

import os
from pathlib import Path

import pytest

from service.settings import Settings


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Remove all settings from the environment, and run in a folder without `.env`."""
    known = {name.upper() for name in Settings.model_fields}
    for name in [name for name in os.environ if name.upper() in known]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return monkeypatch
