"""End a command with one sentence and an exit status."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from framehook import (
    CorruptTransfer,
    ExportFailed,
    FramehookError,
    Gone,
    InvalidSignature,
    NotFound,
    Problem,
    Unauthenticated,
    Unavailable,
    UnexpectedResponse,
    Unreachable,
)
from service.cli.console import to_printable
from service.startup.statuses import CONFIGURATION_STATUS, INTERRUPTED_STATUS, TRY_AGAIN_STATUS

FAILED_STATUS = 1
USAGE_STATUS = 2
NOT_FOUND_STATUS = 3
REFUSED_STATUS = 4
UNREACHABLE_STATUS = 5
EXIT_STATUSES = {
    0: "done",
    FAILED_STATUS: "the export failed or was cancelled, or the work could not be done",
    USAGE_STATUS: "the command, a file or a config is wrong; nothing was changed",
    NOT_FOUND_STATUS: "there is no such export, upload, webhook or delivery",
    REFUSED_STATUS: "the service refused: a token, a limit, a state or a value",
    UNREACHABLE_STATUS: "the service can't be reached, or can't answer now",
    TRY_AGAIN_STATUS: "`serve` can't start now: a port, folder or database is in use",
    CONFIGURATION_STATUS: "a setting of the service is wrong",
    INTERRUPTED_STATUS: "interrupted; what runs on the service goes on",
}
"""What each exit status means, for all commands."""
_FAILURES = (CorruptTransfer, ExportFailed, InvalidSignature)


class CommandFailed(FramehookError):
    """A command could not do its work, although it was given rightly."""


@contextmanager
def print_errors() -> Iterator[None]:
    """Exit with a sentence and a status on a FramehookError, an OSError, text that is not UTF-8, or Ctrl-C."""
    try:
        yield
    except FramehookError as error:
        exit_with(status_of(error), describe_error(error))
    except BrokenPipeError:
        raise  # the reader of the pipe is gone; click exits without a message
    except OSError as error:
        path = f"{error.filename}: " if error.filename else ""
        status = USAGE_STATUS if error.filename else FAILED_STATUS
        exit_with(status, f"{path}{(error.strerror or str(error)).lower()}")
    except UnicodeEncodeError:  # Python keeps other bytes of an argument as lone surrogates
        exit_with(USAGE_STATUS, "an argument is not UTF-8; write it as text")
    except KeyboardInterrupt:
        exit_with(INTERRUPTED_STATUS, "interrupted")


def status_of(error: FramehookError) -> int:
    """Return the exit status for an error; what no service has answered to is wrong usage."""
    if isinstance(error, (*_FAILURES, CommandFailed)):
        return FAILED_STATUS
    if isinstance(error, Unreachable | Unavailable | UnexpectedResponse):
        return UNREACHABLE_STATUS
    if isinstance(error, NotFound | Gone):
        return (
            NOT_FOUND_STATUS if error.code else UNREACHABLE_STATUS
        )  # without a code another server has answered
    return REFUSED_STATUS if isinstance(error, Problem) else USAGE_STATUS


def describe_error(error: FramehookError) -> str:
    """Return the message of an error, its notes, and what to do about it on the command line."""
    lines = [str(error), *getattr(error, "__notes__", ())]
    if isinstance(error, Unauthenticated):
        lines.append("  set a token with --token or FRAMEHOOK_TOKEN")
    if isinstance(error, Unavailable) and error.request_id:
        lines.append(f"  the log of the service has the reason under request_id {error.request_id}")
    if isinstance(error, Unreachable) and error.is_refused:
        lines[0] += "; start it with `framehook serve`, or set another URL with --server or FRAMEHOOK_URL"
    return "\n".join(lines)


def exit_with(status: int, sentence: str) -> NoReturn:
    """Print the sentence to standard error and exit."""
    print_error(sentence)
    raise typer.Exit(status)


def print_error(sentence: str) -> None:
    """Print a sentence to standard error, with the name of the program in front."""
    lines = "\n".join(to_printable(line) for line in sentence.splitlines())
    print(f"framehook: {lines}", file=sys.stderr)


def confirm(question: str, option: str) -> None:
    """Ask, and exit unless the answer is yes; where none can be given, `option` has to say it."""
    try:
        is_confirmed = typer.confirm(question, err=True)
    except typer.Abort:  # Ctrl-C, or the end of the input
        print(file=sys.stderr)
        if sys.stdin.isatty():
            exit_with(INTERRUPTED_STATUS, "interrupted")
        exit_with(USAGE_STATUS, f"there is no terminal to ask on; answer with {option}")
    if not is_confirmed:
        exit_with(FAILED_STATUS, "nothing was changed")
