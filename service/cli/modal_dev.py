"""Modal on this machine: the local control plane, with the app deployed to it by the unmodified `modal` command."""

import json
import secrets
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from service.cli.modal_deploy import deploy
from service.cli.subprocesses import start, stop
from service.client import ClientError
from service.settings import Settings

NO_CREDENTIALS = {"MODAL_TOKEN_ID": "", "MODAL_TOKEN_SECRET": "", "MODAL_BUCKET_SECRET": ""}
"""Real credentials have no business here: the plane makes a token of its own."""


@contextmanager
def local_modal(settings: Settings, say: Callable[[str], None]) -> Iterator[Mapping[str, str]]:
    """Yields the environment of a service that runs its exports there, but for its own address; raises ClientError."""
    log = settings.data_dir / "modal.log"
    say(f"Starting a Modal control plane on this machine (its log: {log})")
    words = ("infra.modal_local", "--json", "--state-dir", str(settings.data_dir / "modal"))
    with log.open("wb") as written:
        child = start(words, log=written, environment=NO_CREDENTIALS, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        line = child.stdout.readline()
        if not line:
            raise ClientError(f"the control plane did not start; {log} says why")
        plane: dict[str, str] = {**NO_CREDENTIALS, **json.loads(line)}
        say("Deploying to it with `modal deploy -m gpu.modal_app`")
        deploy(settings, plane)
        yield {**plane, **_service(settings)}
    finally:
        stop(child)


def _service(settings: Settings) -> dict[str, str]:
    own = {"MODAL_ENABLED": "true", "CALLBACK_URL": ""}
    return own if settings.callback_secret else {**own, "CALLBACK_SECRET": secrets.token_urlsafe(48)}
