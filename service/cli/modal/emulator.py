"""Run the local Modal emulator; the unmodified `modal` command deploys the app to it."""

import json
import secrets
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from framehook import FramehookError
from service.cli.modal.deployment import deploy
from service.cli.server.subprocesses import start, stop
from service.settings import Settings

NO_CREDENTIALS = {"MODAL_TOKEN_ID": "", "MODAL_TOKEN_SECRET": "", "MODAL_BUCKET_SECRET": ""}
"""Hides real credentials from the emulator, which creates a token of its own."""


@contextmanager
def local_modal(settings: Settings, report: Callable[[str], None]) -> Iterator[Mapping[str, str]]:
    """Run the emulator; yield the environment of a service that uses it, without PUBLIC_URL.

    Raises FramehookError.
    """
    log = settings.data_dir / "modal.log"
    report(f"Starting the local Modal emulator (log: {log})")
    arguments = ("infra.modal_local", "--json", "--state-dir", str(settings.data_dir / "modal"))
    with log.open("wb") as log_file:
        child = start(arguments, log=log_file, environment=NO_CREDENTIALS, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        line = child.stdout.readline()
        if not line:
            raise FramehookError(f"the Modal emulator did not start; see its log, {log}")
        emulator: dict[str, str] = {**NO_CREDENTIALS, **json.loads(line)}
        report("Deploying the app to the emulator with `modal deploy -m gpu.modal_app`")
        deploy(settings, emulator)
        yield {**emulator, **_service_environment(settings)}
    finally:
        stop(child)


def _service_environment(settings: Settings) -> dict[str, str]:
    environment = {"MODAL_ENABLED": "true", "CALLBACK_URL": ""}
    if not settings.callback_secret:
        environment["CALLBACK_SECRET"] = secrets.token_urlsafe(48)
    return environment
