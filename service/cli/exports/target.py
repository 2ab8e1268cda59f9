"""Where the file of an export is saved."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from framehook import FramehookError

Force = Annotated[bool, typer.Option("--force", help="Replace a file that exists.")]


@dataclass(frozen=True)
class OutputOptions:
    """The file to save to, if there is one."""

    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Wait until the export is complete, then save it to this file, which must not exist yet.",
        ),
    ] = None
    force: Force = False

    def find_target(self) -> Path | None:
        """Return the file, which can be written; raises FramehookError."""
        if self.output is None:
            return None
        check_target(self.output)
        if self.output.exists() and not self.force:
            raise FramehookError(
                f"{self.output} exists already; name another file, or replace it with --force"
            )
        return self.output


def check_target(path: Path) -> None:
    """Raise FramehookError unless a file can be written there."""
    if path.is_dir():
        raise FramehookError(f"{path} is a folder; give the name of the file to save to")
    if path.exists() and not path.is_file():
        raise FramehookError(f"{path} is not a regular file; save to a file of another name")
    if not path.parent.is_dir():
        raise FramehookError(f"folder {path.parent} does not exist; create it, or save elsewhere")
