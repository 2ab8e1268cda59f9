"""Start child processes of a command, and stop them however the command ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import IO, NoReturn

STOP_TIMEOUT_SECONDS = 15.0


def start(
    arguments: tuple[str, ...],
    *,
    log: IO[bytes],
    environment: Mapping[str, str] | None = None,
    stdout: int | None = None,
) -> "subprocess.Popen[bytes]":
    """Run a Python module in its own session: Ctrl-C reaches it only through its parent."""
    return subprocess.Popen(  # noqa: S603 - this interpreter, with arguments from this package
        [sys.executable, "-m", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=log if stdout is None else stdout,
        stderr=subprocess.STDOUT if stdout is None else log,
        env={**os.environ, **(environment or {})},
        start_new_session=True,
    )


def stop(child: "subprocess.Popen[bytes]") -> None:
    """Stop the child and its process group.

    Further signals are ignored: a second Ctrl-C would leave the child running.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    child.terminate()
    with suppress(subprocess.TimeoutExpired):
        child.wait(STOP_TIMEOUT_SECONDS)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


@contextmanager
def exit_on_signals() -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGINT, SIGTERM and SIGHUP.

    A shell may have set them to be ignored in this process.
    """
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    previous_handlers = [(number, signal.signal(number, _interrupt)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in previous_handlers:
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
