"""Deploy the Modal app with the `modal` command, and check the deployed function."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec

from framehook import FramehookError
from service.dispatch.runners import RunnerRefused
from service.settings import Settings


def deploy(settings: Settings, environment: Mapping[str, str] | None = None) -> None:
    """Deploy the app; raises FramehookError. `environment` overrides variables of this process."""
    if find_spec("modal") is None:
        raise FramehookError("the Modal SDK is not installed; install Framehook with its dependencies")
    all_variables = {**os.environ, **_variables(settings), **(environment or {})}
    if environment is None and settings.modal_token is None and not _has_token():
        raise FramehookError(
            "there is no Modal token: set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET, or run `modal token new`"
        )
    result = subprocess.run(
        [sys.executable, "-m", "modal", "deploy", "-m", "gpu.modal_app"],
        env=all_variables,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if result.returncode != 0:
        raise FramehookError(f"`modal deploy` failed with status {result.returncode}; its output is above")


def check_deployment(settings: Settings) -> None:
    """Check that the function exists and accepts the service's arguments.

    Raises FramehookError.
    """
    from service.dispatch.runners.modal import ModalRunner

    async def check() -> None:
        runner = ModalRunner(settings.modal_app_name, settings.modal_token, probe_seconds=20.0)
        try:
            await runner.check()
        finally:
            await runner.close()

    try:
        asyncio.run(check())
    except RunnerRefused as refused:
        raise FramehookError(f"the app was deployed, but can't be used: {refused.message}") from None


def _has_token() -> bool:
    from service.dispatch.runners.modal import has_token

    return has_token()


def _variables(settings: Settings) -> dict[str, str]:
    """Return the variables that a deployment reads; the token may be set only in `.env`."""
    variables = {"MODAL_APP_NAME": settings.modal_app_name, "MODAL_GPU": settings.modal_gpu}
    if settings.modal_token is not None:
        variables["MODAL_TOKEN_ID"], variables["MODAL_TOKEN_SECRET"] = settings.modal_token
    return variables
