"""ExportError, the expected failure of an export, and how other errors become one."""

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from av.error import FFmpegError

from callbacks.envelope import Failure


class ExportError(Exception):
    """An export failed for an expected reason: a code for machines, a sentence that a person can act on.

    The message contains no path, traceback or secret. `transient` says that another attempt may succeed. `loc` is the
    path of the field of the configuration that does not fit its source, where there is one.
    """

    def __init__(
        self, code: str, message: str, *, transient: bool = False, loc: Sequence[str | int] = ()
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.transient = transient
        self.loc = tuple(loc)


def failure_from(error: ExportError) -> Failure:
    """Convert an error to the failure that callbacks and chunk workers report."""
    return Failure(code=error.code, message=error.message, transient=error.transient)


def plugin_failure(type_name: str) -> Failure:
    """Return the failure of an export whose type, from a package, raised an error that it does not foresee."""
    message = f"The export type {type_name!r} failed unexpectedly. The traceback is in the log of the service"
    return Failure(
        code=INTERNAL.code, message=f"{message}, or of the Modal app if it ran there.", transient=True
    )


def failure_dict(failure: Failure) -> dict[str, Any]:
    """Convert a failure to JSON values; `ExportError(**failure_dict(failure))` is the error again."""
    values: dict[str, Any] = msgspec.to_builtins(failure)
    return values


def describe(error: ExportError) -> str:
    """Return code, message and cause in one line for a log."""
    cause = error.__cause__
    return f"{error.code}: {error.message}" + (f" ({type(cause).__name__}: {cause})" if cause else "")


def disk_full_error() -> ExportError:
    """Return the error of a full disk; another machine may have room."""
    return ExportError("disk_full", "The disk that the export is made on is full.", transient=True)


@contextmanager
def map_errors(code: str, message: str, *, transient: bool = False) -> Iterator[None]:
    """Turn errors of FFmpeg and the operating system into an ExportError; a full disk keeps its own code."""
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
