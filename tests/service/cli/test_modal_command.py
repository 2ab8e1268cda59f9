"""`framehook modal deploy` where it can't work: a sentence that says what to do, soon, and before anything is built."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from infra.modal_local import ModalLocal
from service.cli.main import app

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
