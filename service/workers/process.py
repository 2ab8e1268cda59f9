"""A process that decodes or encodes, and how one is started from a new interpreter."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

MAX_LINE_BYTES = 1024 * 1024


@dataclass(frozen=True, eq=False)
class WorkerProcess:
    """A running process, which leads a session and a process group.

    Its standard input stays open: the process ends when it is closed, which happens however this service ends. `wait`
    returns the exit status, negative for a signal. `stdout` is None if its output is dropped.
    """

    pid: int
    stdin: asyncio.WriteTransport
    stdout: asyncio.StreamReader | None
    stderr: asyncio.StreamReader
    wait: Callable[[], Awaitable[int]]


async def start_interpreter(
    module: str, arguments: Sequence[str], *, has_output: bool, kept_open: Sequence[int] = ()
) -> WorkerProcess:
    """Start `python -m module`, with these file descriptors open in it; raises OSError."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE if has_output else asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        pass_fds=kept_open,
        env=worker_environment(),
        limit=MAX_LINE_BYTES,
    )
    assert process.stdin is not None
    assert process.stderr is not None
    return WorkerProcess(process.pid, process.stdin.transport, process.stdout, process.stderr, process.wait)


def worker_environment() -> dict[str, str]:
    """Return the environment of a worker: only these variables, so none of the service's secrets."""
    names = (
        "PATH",
        "HOME",
        "LANG",
        "LC_ALL",
        "TMPDIR",
        "VIRTUAL_ENV",
        "PYTHONPATH",
        "LD_LIBRARY_PATH",
        "CUDA_VISIBLE_DEVICES",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
    )
    return {name: os.environ[name] for name in names if name in os.environ} | {"LOG_FORMAT": "json"}
