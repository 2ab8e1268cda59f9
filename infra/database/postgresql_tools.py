"""`pg_dump` and `pg_restore`: the commands, and what keeps them from working. Passwords are passed by environment."""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from infra.database.postgresql import asyncpg_dsn

MAX_LINES = 3
_REVISION = re.compile(r"^COPY [^\n]*alembic_version [^\n]*\n([^\n\\]+)$", re.MULTILINE)

_TABLE = re.compile(r"^\d+; \d+ \d+ TABLE \S+ (\S+) ", re.MULTILINE)


class ToolMissing(Exception):
    """The program is not installed; the message is the command that it would have been run with."""


class ToolFailed(Exception):
    """The program failed; the message is what it said last."""


@dataclass(frozen=True)
class Target:
    """A database as the programs of PostgreSQL take it: a URL without the password, and the password."""

    url: str
    password: str

    @classmethod
    def from_url(cls, url: str) -> "Target":
        parts = urlsplit(asyncpg_dsn(url))
        user, at, host = parts.netloc.rpartition("@")
        name, _, password = user.partition(":")
        return cls(urlunsplit(parts._replace(netloc=f"{name}{at}{host}")), unquote(password))


def dump(url: str, file: Path) -> None:
    """Write a database to a new file, as it was at one moment.

    Raises FileExistsError, ToolMissing or ToolFailed.
    """
    target = Target.from_url(url)
    part = file.with_name(f".{file.name}.part")
    command = ["pg_dump", "--format=custom", "--no-owner", f"--dbname={target.url}"]
    try:
        _run([*command, f"--file={part}"], target, shown=[*command, f"--file={file}"])
        os.link(part, file)  # unlike a rename it replaces nothing
    finally:
        part.unlink(missing_ok=True)


def restore(url: str, file: Path) -> None:
    """Replace what a database has by a dump, all or nothing; raises ToolMissing or ToolFailed."""
    target = Target.from_url(url)
    options = ("--clean", "--if-exists", "--no-owner", "--single-transaction", "--exit-on-error")
    command = ["pg_restore", *options, f"--dbname={target.url}", str(file)]
    _run(command, target, shown=command)


def read_dump_revision(file: Path) -> str:
    """Return the revision of the schema in a dump, empty if it has none; raises ToolMissing or ToolFailed."""
    command = ["pg_restore", "--data-only", "--table=alembic_version", "--file=-", str(file)]
    match = _REVISION.search(_run(command, Target("", ""), shown=command))
    return match[1].strip() if match else ""


def list_dump_tables(file: Path) -> set[str]:
    """Return the names of the tables in a dump; raises ToolMissing or ToolFailed."""
    command = ["pg_restore", "--list", str(file)]
    return set(_TABLE.findall(_run(command, Target("", ""), shown=command)))


def _run(command: Sequence[str], target: Target, *, shown: Sequence[str]) -> str:
    program = shutil.which(command[0])
    if program is None:
        raise ToolMissing(" ".join(_quote(word) for word in shown))
    environment = {**os.environ, **({"PGPASSWORD": target.password} if target.password else {})}
    ended = subprocess.run(  # noqa: S603 - a program of PostgreSQL, without a shell
        [program, *command[1:]],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        umask=0o077,
        check=False,
    )
    if ended.returncode != 0:
        lines = [line.partition("error: ")[2] or line for line in ended.stderr.splitlines() if line.strip()]
        raise ToolFailed(f"{command[0]} failed: {'; '.join(lines[:MAX_LINES])}")
    return ended.stdout


def _quote(word: str) -> str:
    name, equals, value = word.partition("=")
    return f"{name}{equals}'{value}'" if re.search(r"[^\w./=:,@%+-]", value or "") else word
