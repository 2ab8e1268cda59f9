"""The one way in which an export fails on purpose."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from av.error import FFmpegError

from callbacks.envelope import Failure


class ExportError(Exception):
    """An export that can't be made, with a code for machines and a sentence that a person can act on.

    The message never holds a path, a trace or a secret. `transient` says that another attempt may succeed.
    """

    def __init__(self, code: str, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.transient = transient


def describe(error: ExportError) -> str:
    """Say in one line for a log what failed, and what it came from."""
    cause = error.__cause__
    return f"{error.code}: {error.message}" + (f" ({type(cause).__name__}: {cause})" if cause else "")


def disk_full_error() -> ExportError:
    """The disk that the attempt writes to is full; another machine may have room."""
    return ExportError("disk_full", "The disk that the export is made on is full.", transient=True)


@contextmanager
def map_errors(code: str, message: str, *, transient: bool = False) -> Iterator[None]:
    """Turn what FFmpeg and the operating system raise in this block into an ExportError; a full disk stays one."""
    try:
        yield
    except (FFmpegError, OSError, ValueError, OverflowError) as error:
        if getattr(error, "errno", None) in {errno.ENOSPC, errno.EDQUOT}:
            raise disk_full_error() from error
        raise ExportError(code, message, transient=transient) from error


INTERNAL = Failure(
    code="internal_error",
    message="The export failed because of an error in the service.",
    transient=True,
)
DISK_FULL = Failure(code=disk_full_error().code, message=disk_full_error().message, transient=True)
OUT_OF_MEMORY = Failure(
    code="out_of_memory", message="The export needed more memory than it may use. Choose a smaller output."
)
OUT_OF_TIME = Failure(
    code="deadline_exceeded",
    message="The export took longer than its time limit. Export a shorter part, or choose a lower quality.",
)
