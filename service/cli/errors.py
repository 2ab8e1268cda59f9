"""End a command with one sentence and an exit status."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from framehook import FramehookError, Unauthenticated, Unreachable
from service.cli.console import to_printable
from service.startup.commands import INTERRUPTED_STATUS

FAILED_STATUS = 1
ERROR_STATUS = 2


@contextmanager
def print_errors() -> Iterator[None]:
    """Exit with a sentence and a status on a FramehookError, an OSError or Ctrl-C."""
    try:
        yield
    except FramehookError as error:
        exit_with(ERROR_STATUS, describe_error(error))
    except BrokenPipeError:
        raise  # the reader of the pipe is gone; click exits without a message
    except OSError as error:
        path = f"{error.filename}: " if error.filename else ""
        exit_with(ERROR_STATUS, f"{path}{(error.strerror or str(error)).lower()}")
    except KeyboardInterrupt:
        exit_with(INTERRUPTED_STATUS, "interrupted")


def describe_error(error: FramehookError) -> str:
    """Return the message of an error, its notes, and what to do about it on the command line."""
    lines = [str(error), *getattr(error, "__notes__", ())]
    if isinstance(error, Unauthenticated):
        lines.append("  set a token with --token or FRAMEHOOK_TOKEN")
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
