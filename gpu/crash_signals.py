"""Processes that a signal from inside a decoder ended: the file does that, and would do it again."""

import signal

from gpu.errors import ExportError

_FAULTS = frozenset({signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV})


def is_crash(status: int) -> bool:
    """Return whether a process with this exit status crashed by itself; one that was killed did not."""
    return -status in _FAULTS


def crash_error() -> ExportError:
    """Return the error of an export whose process crashed."""
    message = "The source made the decoder crash; the file may be damaged. Convert it to another format and try again."
    return ExportError("source_unreadable", message)
