"""`framehook modal deploy` where it can't work: a sentence that says what to do, soon, and before anything is built."""

import asyncio
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from infra.modal_local import ModalLocal
from service.cli.main import app
from service.cli.modal.deployment import deploy as run_deployment
from service.settings import find_unknown_settings, load_settings

TOKEN = {"MODAL_TOKEN_ID": "ak-wrong", "MODAL_TOKEN_SECRET": "as-wrong"}
MAX_SECONDS = 60.0
"""`modal deploy` itself tries for longer; the usual time is five seconds, and beside other work it is more."""


async def deploy(folder: Path, **environment: str) -> Result:
    known = {"DATA_DIR": str(folder / "var"), "HOME": str(folder), "MODAL_CONFIG_PATH": str(folder / "modal")}
    async with asyncio.timeout(MAX_SECONDS):
        return await asyncio.to_thread(CliRunner().invoke, app, ["modal", "deploy"], env=known | environment)


@pytest.fixture(params=["closed", "mute"])
def silent_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a port on which nothing listens, and of one that takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if request.param == "mute":
            server.listen()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


SPY = """import json, os, pathlib
pathlib.Path("deployed.json").write_text(json.dumps(dict(os.environ)))
"""
"""Stands for the `modal` command: it keeps the variables that a deployment reads."""


def test_a_deployment_reads_its_settings_from_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("MODAL_MAX_CONTAINERS", "MODAL_BUCKET_SECRET", "MODAL_GPU", "MODAL_APP_NAME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "modal").mkdir()
    (tmp_path / "modal" / "__init__.py").touch()
    (tmp_path / "modal" / "__main__.py").write_text(SPY)
    (tmp_path / ".env").write_text("MODAL_MAX_CONTAINERS=7\nMODAL_BUCKET_SECRET=videos\nMODAL_GPU=T4\n")
    assert find_unknown_settings() == []
    run_deployment(load_settings(data_dir=tmp_path))
    variables = json.loads((tmp_path / "deployed.json").read_text())
    names = ("MODAL_MAX_CONTAINERS", "MODAL_BUCKET_SECRET", "MODAL_GPU", "MODAL_APP_NAME")
    assert [variables[name] for name in names] == ["7", "videos", "T4", "framehook"]


async def test_a_control_plane_that_does_not_answer_is_named(silent_url: str, tmp_path: Path) -> None:
    result = await deploy(tmp_path, MODAL_SERVER_URL=silent_url, **TOKEN)
    assert result.exit_code == 1
    place = f"at {silent_url}, which MODAL_SERVER_URL names"
    assert result.stderr == f"framehook: Modal can't be reached {place}; check the network, then try again\n"


async def test_a_token_that_modal_rejects_is_said(tmp_path: Path) -> None:
    async with ModalLocal() as plane:
        result = await deploy(tmp_path, **{**plane.environment, **TOKEN})
    assert result.exit_code == 1
    assert result.stderr == (
        "framehook: Modal rejects the token, or none is set. Set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET.\n"
    )


async def test_without_a_token_nothing_is_asked(tmp_path: Path) -> None:
    result = await deploy(tmp_path, MODAL_TOKEN_ID="", MODAL_TOKEN_SECRET="")
    assert result.exit_code == 1
    assert "there is no Modal token: set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET, or run" in result.stderr
