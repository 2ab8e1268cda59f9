"""`python -m gpu.fork_server FD`: fork processes that find the modules of runs imported.

Importing them takes most of a second, a fork a few milliseconds. FD is a Unix socket to the service (SOCK_SEQPACKET).
A request is one message: `module` and `arguments` as JSON, and the new process's standard input, output and error,
followed by files that it only keeps open. The process leads a session and runs `main` of the module, as `python -m`
would. The answer is `pid`, with a descriptor of the process (pidfd), or `error`; when the process has ended, `pid` and
`status` follow.

All that exists here is copied into every process, so this one has no threads and no event loop, and opens no file. It
ends when the service closes the socket, however the service ends. The processes live on, and end by themselves.
"""

import gc
import importlib
import json
import logging
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from callbacks.log_format import log_to_stderr
from gpu.export_types.registry import BUILT_IN, find_export_type
from gpu.spec import AttemptSpec

MAX_REQUEST_BYTES = 64 * 1024
MAX_DESCRIPTORS = 16
# What processes run, and what they would import only when they need it. Packages with export types are not here:
# a package that fails or starts a thread when it is imported does so in a run of its own.
MODULES = (
    "gpu.worker",
    "gpu.sources.describe",
    "gpu.estimates.process",
    "gpu.export_types.inspect_output",
    "gpu.export_types.clip_film",
    "gpu.export_types.crop",
    "gpu.export_types.overlay_drawing",
    "gpu.transfer.limited_reader",
    "gpu.transfer.multipart",
    "gpu.transfer.range_reader",
    "PIL.Image",
    "av.subtitles.stream",
    "encodings.idna",
    "httpcore",
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Program:
    """A module to run, and its command line."""

    module: str
    arguments: Sequence[str]

    def run(self) -> int:
        """Run the module's `main` and return the exit status."""
        sys.argv = [self.module, *self.arguments]
        status: int = importlib.import_module(self.module).main()
        return status


class ForkServer:
    """Answers requests until the socket is closed."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._pids: dict[int, int] = {}  # by pidfd
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)

    def serve(self) -> Program | None:
        """Return None at the end, and in each new process the program that it has to run."""
        self._send({"ready": True})
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor != self._control.fileno():
                    self._report_end(descriptor)
                    continue
                message, descriptors, flags, _ = socket.recv_fds(
                    self._control, MAX_REQUEST_BYTES, MAX_DESCRIPTORS
                )
                if not message:
                    return None
                if flags & socket.MSG_CTRUNC:
                    self._refuse(descriptors, "too many files are open")
                elif self._fork(descriptors):
                    return Program(**json.loads(message))

    def _fork(self, descriptors: Sequence[int]) -> bool:
        """Fork and answer the request; return whether this is the new process."""
        session_started, starting = os.pipe()
        try:
            pid = os.fork()
        except OSError as error:
            self._refuse([session_started, starting, *descriptors], str(error))
            return False
        if pid == 0:
            start_session(descriptors)
            close_all([self._control.detach(), *self._pids, *descriptors[:3], session_started, starting])
            return True
        close_all([starting, *descriptors])
        # Once `starting` is closed in the new process too, a signal to its group reaches it.
        os.read(session_started, 1)
        os.close(session_started)
        pidfd = os.pidfd_open(pid)
        self._pids[pidfd] = pid
        self._poll.register(pidfd, select.POLLIN)
        self._send({"pid": pid}, pidfd)
        return False

    def _refuse(self, descriptors: Sequence[int], reason: str) -> None:
        close_all(descriptors)
        self._send({"error": reason})

    def _report_end(self, pidfd: int) -> None:
        self._poll.unregister(pidfd)
        pid = self._pids.pop(pidfd)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.close(pidfd)
        self._send({"pid": pid, "status": status})

    def _send(self, answer: dict[str, object], *descriptors: int) -> None:
        socket.send_fds(self._control, [json.dumps(answer).encode()], descriptors)


def start_session(descriptors: Sequence[int]) -> None:
    """Make this process the leader of a session, with the first three of these as its standard streams."""
    os.setsid()
    for number, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, number)
    for descriptor in descriptors[3:]:
        os.set_inheritable(descriptor, True)  # the processes that encode chunks keep them open too
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def close_all(descriptors: Sequence[int]) -> None:
    """Close files; a copy of a run's lock that stayed open here would never be released."""
    for descriptor in descriptors:
        os.close(descriptor)


def import_modules() -> None:
    """Import what processes need, and build the models that they parse; all of it is shared memory from then on."""
    for name in MODULES:
        importlib.import_module(name)
    for name in BUILT_IN:
        find_export_type(name).config.model_rebuild()
    AttemptSpec.model_rebuild()
    gc.collect()
    gc.freeze()  # the collector of a process would write to, and so copy, every object


def main() -> int:
    """Serve, or in a new process run its program; return the exit status."""
    control = socket.socket(fileno=int(sys.argv[1]))
    log_to_stderr(os.environ.get("LOG_FORMAT", "text"))
    # A signal to all processes of the service is for the runs; how they end is still to be reported.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.close(os.pidfd_open(os.getpid()))  # fails where the system has none
    import_modules()
    if threading.active_count() > 1:
        log.error("a module that was imported has started a thread, so no process can be forked")
        return 1
    program = None
    with suppress(ConnectionError):  # the service has ended
        program = ForkServer(control).serve()
    return program.run() if program is not None else 0


if __name__ == "__main__":
    sys.exit(main())
