"""Remember unfinished and unused uploads, so that the next command can resume them."""

import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path

MAX_AGE_SECONDS = 24 * 3_600.0  # the service keeps unfinished uploads as long


class ResumeState:
    """Upload tokens and keys by service and file; without a folder nothing is remembered.

    A file is identified by path, size and modification time. Errors of the folder are ignored: an upload must not
    fail because it can't be remembered.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def load_upload(self, service: str, path: Path) -> str | None:
        """Return the token of the last unfinished upload of exactly this file."""
        return self._load(service, path, "upload")

    def load_key(self, service: str, path: Path) -> str | None:
        """Return the key of exactly this file if it was stored and not used yet."""
        return self._load(service, path, "key")

    def save_upload(self, service: str, path: Path, token: str) -> None:
        """Remember an unfinished upload; its token is useless without a bearer token of the user."""
        self._save(service, path, {"upload": token})

    def save_key(self, service: str, path: Path, key: str) -> None:
        """Remember the key under which a file was stored."""
        self._save(service, path, {"key": key})

    def forget(self, service: str, path: Path) -> None:
        """Delete what is remembered of a file."""
        with suppress(OSError):
            state_file = self._state_file(service, path)
            if state_file:
                state_file.unlink(missing_ok=True)

    def _load(self, service: str, path: Path, name: str) -> str | None:
        with suppress(OSError, ValueError, KeyError, TypeError):
            state_file = self._state_file(service, path)
            if state_file and time.time() - state_file.stat().st_mtime < MAX_AGE_SECONDS:
                return str(json.loads(state_file.read_text())[name])
        return None

    def _save(self, service: str, path: Path, state: dict[str, str]) -> None:
        with suppress(OSError):
            state_file = self._state_file(service, path)
            if state_file is None:
                return
            for folder in (state_file.parent.parent, state_file.parent):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            state_file.parent.chmod(0o700)
            self._delete_expired(state_file.parent)
            part = state_file.with_suffix(".part")
            part.unlink(missing_ok=True)
            part.touch(mode=0o600)
            part.write_text(json.dumps(state))
            part.replace(state_file)

    def _state_file(self, service: str, path: Path) -> Path | None:
        if self._folder is None:
            return None
        status = path.stat()
        identity = [service, str(path.resolve()), str(status.st_size), str(status.st_mtime_ns)]
        digest = hashlib.sha256("\0".join(identity).encode(errors="replace")).hexdigest()
        return self._folder / f"{digest}.json"

    def _delete_expired(self, folder: Path) -> None:
        for path in folder.iterdir():
            if time.time() - path.stat().st_mtime > MAX_AGE_SECONDS:
                path.unlink(missing_ok=True)


def default_folder() -> Path | None:
    """Return the folder for this user's state (XDG base directories); None without a home."""
    with suppress(RuntimeError):
        state = os.environ.get("XDG_STATE_HOME")
        return (Path(state) if state else Path.home() / ".local" / "state") / "framehook" / "uploads"
    return None
