"""Processes that a command starts: ended with it, however it ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import IO, NoReturn

STOP_SECONDS = 15.0


def start(
    words: tuple[str, ...],
    *,
    log: IO[bytes],
    environment: Mapping[str, str] | None = None,
    stdout: int | None = None,
) -> "subprocess.Popen[bytes]":
    """A module of Python's, in a session of its own, so that Ctrl-C reaches it through its parent only."""
    return subprocess.Popen(  # noqa: S603 - this interpreter, and words of our own
        [sys.executable, "-m", *words],
        stdin=subprocess.DEVNULL,
        stdout=log if stdout is None else stdout,
        stderr=subprocess.STDOUT if stdout is None else log,
        env={**os.environ, **(environment or {})},
        start_new_session=True,
    )


def stop(child: "subprocess.Popen[bytes]") -> None:
    """End the child and whatever is left in its group; a second Ctrl-C does not leave it behind."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    child.terminate()
    with suppress(subprocess.TimeoutExpired):
        child.wait(STOP_SECONDS)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


@contextmanager
def exit_on_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block as Ctrl-C does, and Ctrl-C even where a shell has switched it off."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [(number, signal.signal(number, _interrupt)) for number in numbers]
    try:
        yield
    finally:
        for number, found in before:
            signal.signal(number, found)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
