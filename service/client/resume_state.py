"""Uploads that were begun and not finished, or not used, remembered in a folder for the next try."""

import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path

KEPT_SECONDS = 24 * 3_600.0  # as long as the service keeps them


class ResumeState:
    """Tokens of uploads by service and file, as the file is now; without a folder nothing is remembered.

    That nothing can be remembered is no reason not to send a file.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def token(self, service: str, path: Path) -> str | None:
        """The upload of exactly this file that was kept last."""
        return self._kept(service, path, "upload")

    def key(self, service: str, path: Path) -> str | None:
        """What exactly this file was stored under by a command that did not get to use it."""
        return self._kept(service, path, "key")

    def keep(self, service: str, path: Path, token: str) -> None:
        """Remember an upload; whoever may read this may not use it without a token of the user's."""
        self._keep(service, path, {"upload": token})

    def save_key(self, service: str, path: Path, key: str) -> None:
        """Remember what a file was stored under."""
        self._keep(service, path, {"key": key})

    def forget(self, service: str, path: Path) -> None:
        """It is finished, or can't be gone on with."""
        with suppress(OSError):
            place = self._place(service, path)
            if place:
                place.unlink(missing_ok=True)

    def _kept(self, service: str, path: Path, name: str) -> str | None:
        with suppress(OSError, ValueError, KeyError, TypeError):
            place = self._place(service, path)
            if place and time.time() - place.stat().st_mtime < KEPT_SECONDS:
                return str(json.loads(place.read_text())[name])
        return None

    def _keep(self, service: str, path: Path, kept: dict[str, str]) -> None:
        with suppress(OSError):
            place = self._place(service, path)
            if place is None:
                return
            for folder in (place.parent.parent, place.parent):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            place.parent.chmod(0o700)
            self._sweep(place.parent)
            part = place.with_suffix(".part")
            part.unlink(missing_ok=True)
            part.touch(mode=0o600)
            part.write_text(json.dumps(kept))
            part.replace(place)

    def _place(self, service: str, path: Path) -> Path | None:
        if self._folder is None:
            return None
        facts = path.stat()
        named = [service, str(path.resolve()), str(facts.st_size), str(facts.st_mtime_ns)]
        return (
            self._folder / f"{hashlib.sha256(chr(0).join(named).encode(errors='replace')).hexdigest()}.json"
        )

    def _sweep(self, folder: Path) -> None:
        for place in folder.iterdir():
            if time.time() - place.stat().st_mtime > KEPT_SECONDS:
                place.unlink(missing_ok=True)


def default_folder() -> Path | None:
    """Where the user's programs keep their state (XDG base directories)."""
    with suppress(RuntimeError):  # a user without a home
        state = os.environ.get("XDG_STATE_HOME")
        return (Path(state) if state else Path.home() / ".local" / "state") / "framehook" / "uploads"
    return None
