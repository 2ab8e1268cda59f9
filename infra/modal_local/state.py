"""The persistent state: deployments, secrets, calls and their outputs in one SQLite file."""

import hashlib
import secrets
import sqlite3
import time
from pathlib import Path
from typing import TypeVar

import msgspec


class App(msgspec.Struct, kw_only=True):
    """An app; `functions` and `classes` map the names of its published layout to ids."""

    id: str
    name: str
    state: int
    functions: dict[str, str] = {}
    classes: dict[str, str] = {}
    deployed_at: float = 0.0


class Function(msgspec.Struct, kw_only=True):
    """A function; `definition` and `draft` are serialized FunctionData.

    A draft becomes the definition when its app is published. A variant has a base, whose definition it takes with
    `options` replaced, and the `parameters` of its class.
    """

    id: str
    app_id: str
    name: str
    handle: bytes = b""
    definition: bytes = b""
    draft: bytes = b""
    base_id: str = ""
    parameters: bytes = b""
    options: bytes = b""


class Mount(msgspec.Struct, kw_only=True):
    """The files of a deployment: their SHA-256 by path in the container."""

    id: str
    files: dict[str, str]


class Image(msgspec.Struct, kw_only=True):
    """The environment of an image, and the mounts copied into it; it is never built."""

    id: str
    environment: dict[str, str] = {}
    copies: list[tuple[str, str]] = []


class Secret(msgspec.Struct, kw_only=True):
    """Environment variables for containers; without a name they belong to one deployment."""

    id: str
    name: str
    variables: dict[str, str]
    created_at: float


class Token(msgspec.Struct, kw_only=True):
    """The credentials of clients."""

    id: str
    secret: str


class Call(msgspec.Struct, kw_only=True):
    """A call; `input` is a serialized FunctionInput, `output` a serialized FunctionGetOutputsItem.

    A finished call without an output is one whose output has expired.
    """

    id: str
    input_id: str
    function_id: str
    invocation: int
    input: bytes
    created_at: float
    retries: int = 0
    output: bytes = b""
    finished_at: float = 0.0


Record = App | Function | Mount | Image | Secret | Token
R = TypeVar("R", App, Function, Mount, Image, Secret, Token)

SCHEMA = """
CREATE TABLE IF NOT EXISTS records (kind TEXT, id TEXT, body BLOB, PRIMARY KEY (kind, id));
CREATE TABLE IF NOT EXISTS calls (id TEXT PRIMARY KEY, finished_at REAL, body BLOB);
CREATE INDEX IF NOT EXISTS calls_by_end ON calls (finished_at);
"""


def new_id(prefix: str) -> str:
    """Return an unguessable id such as fc-1f…; `prefix` is the SDK's for the kind of object."""
    return f"{prefix}-{secrets.token_hex(11)}"


def digest(*parts: str) -> str:
    """Return a short hash of a list of strings."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:22]


class Store:
    """The records on disk, written immediately; callers cache all but ended calls in memory."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory = directory
        self._database = sqlite3.connect(directory / "state.sqlite3", isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.executescript(SCHEMA)

    def close(self) -> None:
        """Close the file, after which nothing can be stored."""
        self._database.close()

    def put(self, record: Record) -> None:
        """Store a record, replacing the one with its id."""
        self._database.execute(
            "INSERT OR REPLACE INTO records VALUES (?, ?, ?)",
            (type(record).__name__, record.id, msgspec.msgpack.encode(record)),
        )

    def remove(self, record: Record) -> None:
        """Delete a record."""
        self._database.execute(
            "DELETE FROM records WHERE kind = ? AND id = ?", (type(record).__name__, record.id)
        )

    def all(self, kind: type[R]) -> dict[str, R]:
        """Return every record of a kind by its id."""
        rows = self._database.execute("SELECT id, body FROM records WHERE kind = ?", (kind.__name__,))
        return {record_id: msgspec.msgpack.decode(body, type=kind) for record_id, body in rows}

    def put_call(self, call: Call) -> None:
        """Store the current state of a call."""
        self._database.execute(
            "INSERT OR REPLACE INTO calls VALUES (?, ?, ?)",
            (call.id, call.finished_at, msgspec.msgpack.encode(call)),
        )

    def load_call(self, call_id: str) -> Call | None:
        """Return an open or finished call, or None if it is unknown or was deleted."""
        row = self._database.execute("SELECT body FROM calls WHERE id = ?", (call_id,)).fetchone()
        return msgspec.msgpack.decode(row[0], type=Call) if row else None

    def open_calls(self) -> list[Call]:
        """Return the calls that have not finished, oldest first."""
        rows = self._database.execute("SELECT body FROM calls WHERE finished_at = 0")
        calls = [msgspec.msgpack.decode(body, type=Call) for (body,) in rows]
        return sorted(calls, key=lambda call: call.created_at)

    def delete_old_calls(self, retention_seconds: float) -> None:
        """Expire outputs after the retention, and delete their calls after twice that time."""
        now = time.time()
        finished = "SELECT body FROM calls WHERE finished_at > 0 AND finished_at < ?"
        for (body,) in self._database.execute(finished, (now - retention_seconds,)).fetchall():
            call = msgspec.msgpack.decode(body, type=Call)
            if call.output or call.input:
                call.output = call.input = b""
                self.put_call(call)
        self._database.execute(
            "DELETE FROM calls WHERE finished_at > 0 AND finished_at < ?", (now - 2 * retention_seconds,)
        )
