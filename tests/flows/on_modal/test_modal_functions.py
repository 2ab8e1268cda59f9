"""The app by itself: what an interrupted run leaves behind, and what its image holds."""

import sys
import tempfile
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import modal
import pytest
from anyio import run_process

from gpu import fonts, modal_app
from tests.flows.on_modal.house import House
from tests.flows.on_modal.road import OUTPUT
from tests.infra.modal_local.toys import client_of, until

pytestmark = pytest.mark.anyio


async def test_a_run_that_is_interrupted_leaves_no_scratch(house: House, source: bytes) -> None:
    def scratch() -> list[Path]:
        return list(Path(tempfile.gettempdir()).glob("modal-local-*/*/framehook-*"))

    house.road.hold(OUTPUT)
    job_id = await house.submitted(source)
    await house.road.came(OUTPUT)
    assert len(scratch()) == 1
    async with client_of(house.plane) as client:
        call: modal.FunctionCall[Any] = modal.FunctionCall.from_id(await house.calls(job_id), client=client)
        await call.cancel.aio()  # as Modal does: an exception in the run, whose container goes on
        await until(lambda: not scratch())
    assert (await house.http.delete(f"/api/exports/{job_id}")).status_code == 202


async def test_the_image_holds_whatever_the_video_code_imports() -> None:
    found = "import sys, gpu.pipeline, gpu.bucket, callbacks.reporter; print(*{n.split('.')[0] for n in sys.modules})"
    done = await run_process([sys.executable, "-c", found])
    owners = packages_distributions()
    direct = {"av", "boto3", "httpx", "msgspec", "numpy", "PIL", "pydantic", "uharfbuzz"}
    loaded = {*done.stdout.decode().split()} & direct
    drawn = {fonts._LATIN[0], fonts._EAST_ASIAN[0], *(name for name, _, _ in fonts._SCRIPTS)}
    wanted = {owner.lower().replace("_", "-") for name in loaded | drawn for owner in owners[name]}
    assert wanted <= set(modal_app.PACKAGES)
