"""Upload a video and submit its export; a repeated submission reuses the upload."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from framehook import Client, Export, FramehookError, Problem
from framehook.options import ExportOptions
from framehook.transfers.resume_state import ResumeState, default_folder
from service.cli.console import ProgressDisplay, byte_callback
from service.cli.errors import exit_with
from service.startup.statuses import INTERRUPTED_STATUS

SOURCE_FIELD = "config.input_key"
RESUME_HINT = "  run the same command again to resume the upload"

OpenDisplay = Callable[[], AbstractContextManager[ProgressDisplay]]


class Submission:
    """The export of one file; what is stored of it is remembered until the export exists."""

    def __init__(
        self, client: Client, file: Path, options: ExportOptions, idempotency_key: str | None = None
    ) -> None:
        """`options` are the optional fields of the export.

        With an idempotency key the upload is remembered for a day, so that a repeated command sends the same request.
        """
        self._client = client
        self._file = file
        self._options = options
        self._idempotency_key = idempotency_key
        self._state = ResumeState(default_folder())

    def run(self, type_: str, parameters: dict[str, Any], open_display: OpenDisplay) -> Export:
        """Create the export; reuse the upload of an earlier command that failed."""
        key = self._state.load_key(self._client.base_url, self._file)
        if key is not None:
            try:
                return self._submit(type_, parameters | {"input_key": key})
            except Problem as problem:
                if SOURCE_FIELD not in {error.name for error in problem.errors}:
                    raise
                self._forget()  # the service has deleted the upload
        key = self._upload(open_display)
        self._state.save_key(self._client.base_url, self._file, key)
        return self._submit(type_, parameters | {"input_key": key})

    def _submit(self, type_: str, config: dict[str, Any]) -> Export:
        """Create the export; an error says under which key the video is stored."""
        hint = f"  the video is uploaded as {config['input_key']}"
        if self._state.load_key(self._client.base_url, self._file) is not None:
            hint += "; the next export of this file uses it without another upload"
        try:
            job = self._client.create_export(
                type_, config, idempotency_key=self._idempotency_key, **self._options
            )
        except KeyboardInterrupt:
            exit_with(
                INTERRUPTED_STATUS,
                f"interrupted; `framehook list` shows whether the export was created\n{hint}",
            )
        except FramehookError as error:
            error.add_note(hint)
            raise
        if self._idempotency_key is None:
            self._forget()
        return job

    def _upload(self, open_display: OpenDisplay) -> str:
        """Upload the file and return its key; an error says how to resume."""
        try:
            with open_display() as display:
                if self._can_resume():
                    display.note("Resuming an interrupted upload.")
                return self._client.upload(self._file, on_progress=byte_callback(display, "uploading"))
        except KeyboardInterrupt:
            exit_with(
                INTERRUPTED_STATUS, f"interrupted\n{RESUME_HINT}" if self._can_resume() else "interrupted"
            )
        except FramehookError as error:
            if self._can_resume():
                error.add_note(RESUME_HINT)
            raise

    def _can_resume(self) -> bool:
        """Tell whether uploading the file would resume an earlier upload."""
        return self._state.load_upload(self._client.base_url, self._file) is not None

    def _forget(self) -> None:
        self._state.forget(self._client.base_url, self._file)
