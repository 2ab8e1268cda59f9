"""Upload a video and submit its export; a repeated submission reuses the upload."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from framehook import Client, ClientError, Export, RequestRejected
from service.cli.console import ProgressDisplay, byte_callback
from service.cli.errors import exit_with
from service.startup.commands import INTERRUPTED_STATUS

SOURCE_FIELD = "config.input_key"

OpenDisplay = Callable[[], AbstractContextManager[ProgressDisplay]]


def upload_and_submit(
    client: Client, file: Path, type_: str, parameters: dict[str, Any], open_display: OpenDisplay
) -> Export:
    """Create an export of a file; reuse the upload of an earlier command that failed."""
    key = client.find_stored_key(file)
    if key is not None:
        try:
            return _submit(client, file, type_, parameters | {"input_key": key})
        except RequestRejected as rejection:
            if SOURCE_FIELD not in rejection.fields:
                raise
            client.forget(file)  # the service has deleted the upload
    key = _upload_input(client, file, open_display)
    client.save_key(file, key)
    return _submit(client, file, type_, parameters | {"input_key": key})


def _submit(client: Client, file: Path, type_: str, config: dict[str, Any]) -> Export:
    """Create the export; an error says under which key the video is stored."""
    hint = f"the video is uploaded as {config['input_key']}"
    if client.find_stored_key(file) is not None:
        hint += "; the next export of this file uses it without another upload"
    try:
        job = client.submit(type_, config)
    except KeyboardInterrupt:
        exit_with(INTERRUPTED_STATUS, f"interrupted\n  {hint}")
    except RequestRejected as rejection:
        raise RequestRejected(rejection.status, f"{rejection}\n  {hint}", rejection.fields) from rejection
    except ClientError as error:
        raise ClientError(f"{error}\n  {hint}") from error
    client.forget(file)
    return job


def _upload_input(client: Client, file: Path, open_display: OpenDisplay) -> str:
    """Upload the file and return its key; an error says how to resume."""
    try:
        with open_display() as display:
            if client.can_resume(file):
                display.note("Resuming an interrupted upload.")
            return client.upload(file, byte_callback(display, "uploading"))
    except KeyboardInterrupt:
        exit_with(INTERRUPTED_STATUS, f"interrupted{_resume_hint(client, file)}")
    except ClientError as error:
        raise ClientError(f"{error}{_resume_hint(client, file)}") from error


def _resume_hint(client: Client, file: Path) -> str:
    return "; run the same command again to resume the upload" if client.can_resume(file) else ""
