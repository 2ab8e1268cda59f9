"""Deploy the Modal app with the `modal` command, and check the deployed function."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

from service.cli.errors import CommandFailed
from service.dispatch.runners import RunnerRefused
from service.settings import Settings

if TYPE_CHECKING:
    from service.dispatch.runners.modal import ModalRunner

CONNECTION_SECONDS = 5.0
DEPLOYMENT_SECONDS = 20.0

_SIGN_IN = "there is no Modal token: set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET, or run `modal token new`"


def deploy(settings: Settings, environment: Mapping[str, str] | None = None) -> None:
    """Deploy the app; raises CommandFailed. `environment` overrides variables of this process."""
    require_sdk()
    all_variables = {**os.environ, **_variables(settings), **(environment or {})}
    result = subprocess.run(
        [sys.executable, "-m", "modal", "deploy", "-m", "gpu.modal_app"],
        env=all_variables,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if result.returncode != 0:
        raise CommandFailed(f"`modal deploy` failed with status {result.returncode}; its output is above")


def check_connection(settings: Settings) -> None:
    """Check within seconds that Modal can be reached and takes the token: its own command tries for minutes.

    Raises CommandFailed.
    """
    require_sdk()
    if settings.modal_token is None and not _has_token():
        raise CommandFailed(_SIGN_IN)
    try:
        _ask_modal(settings, CONNECTION_SECONDS, lambda runner: runner.check_connection())
    except RunnerRefused as refused:
        raise CommandFailed(_describe_refusal(refused)) from None


def check_deployment(settings: Settings) -> None:
    """Check that the function exists and accepts the service's arguments.

    Raises CommandFailed.
    """
    try:
        _ask_modal(settings, DEPLOYMENT_SECONDS, lambda runner: runner.check())
    except RunnerRefused as refused:
        raise CommandFailed(f"the app was deployed, but can't be used: {refused.message}") from None


def require_sdk() -> None:
    """Raise CommandFailed unless the Modal SDK is installed."""
    if find_spec("modal") is None:
        raise CommandFailed("the Modal SDK is not installed; install Framehook with its dependencies")


def _ask_modal(settings: Settings, seconds: float, ask: "Callable[[ModalRunner], Awaitable[None]]") -> None:
    """Ask Modal something with a connection of its own; raises RunnerRefused."""
    from service.dispatch.runners.modal import ModalRunner

    async def run() -> None:
        runner = ModalRunner(settings.modal_app_name, settings.modal_token, probe_seconds=seconds)
        try:
            await ask(runner)
        finally:
            await runner.close()

    asyncio.run(run())


def _describe_refusal(refused: RunnerRefused) -> str:
    if refused.code != "modal_unreachable":
        return refused.message
    server = os.environ.get("MODAL_SERVER_URL")
    place = f" at {server}, which MODAL_SERVER_URL names" if server else ""
    return f"Modal can't be reached{place}; check the network, then try again"


def _has_token() -> bool:
    from service.dispatch.runners.modal import has_token

    return has_token()


def _variables(settings: Settings) -> dict[str, str]:
    """Return the variables that a deployment reads; the token may be set only in `.env`."""
    variables = {
        "MODAL_APP_NAME": settings.modal_app_name,
        "MODAL_GPU": settings.modal_gpu,
        "MODAL_MAX_CONTAINERS": str(settings.modal_max_containers),
        "MODAL_BUCKET_SECRET": settings.modal_bucket_secret or "",
    }
    if settings.modal_token is not None:
        variables["MODAL_TOKEN_ID"], variables["MODAL_TOKEN_SECRET"] = settings.modal_token
    return variables
