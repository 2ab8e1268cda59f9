"""The command that writes a test video."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer

from framehook import FramehookError
from service.cli.errors import print_errors


@contextmanager
def removal_on_failure(path: Path) -> Iterator[None]:
    """Delete a file that could not be written whole."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise


def sample(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="The MP4 to write; must not exist yet.")
    ] = Path("sample.mp4"),
) -> None:
    """Write a test video.

    It has ten seconds of 1920x1080 at 30 frames per second, and sound.
    """
    from service import sample_video  # loads NumPy and FFmpeg

    with print_errors():
        if path.exists():
            raise FramehookError(f"{path} exists already: name another file, or remove it first.")
        try:
            with removal_on_failure(path):
                sample_video.write_video(path)
        except OSError as error:
            raise FramehookError(f"{path} can't be written: {error.strerror or error}.") from error
    typer.echo(f"Wrote {path}, {path.stat().st_size / 2**20:.1f} MiB.")
