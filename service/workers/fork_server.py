"""The service's side of a fork server; its side of the socket is `gpu.fork_server`."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from service.workers.log import finish_log, log_run
from service.workers.pipes import open_pipes
from service.workers.process import WorkerProcess, worker_environment

ANSWER_SECONDS = 10.0
UNKNOWN_STATUS = -signal.SIGKILL
"""The status of a process whose fork server ended first: it counts as killed, since only its parent is told."""
_MAX_ANSWER_BYTES = 4096


class ForkRefused(Exception):
    """The process was not started; the message says why."""


class ForkServerLost(OSError):
    """The fork server ended, or does not answer; the process may have been started, and ends with its input."""


@dataclass(frozen=True, eq=False)
class _Child:
    pidfd: int
    status: "asyncio.Future[int]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def wait(self) -> int:
        return await asyncio.shield(self.status)


class ForkServer:
    """A running fork server, from `launch` until it has ended."""

    def __init__(self, process: asyncio.subprocess.Process, control: socket.socket) -> None:
        self.is_ready = self.was_ready = False
        self._process = process
        self._control = control
        self._requests: deque[asyncio.Future[tuple[int, _Child]]] = deque()  # answered in order
        self._children: dict[int, _Child] = {}
        self._loop = asyncio.get_running_loop()
        assert process.stderr is not None
        self._log_copy = asyncio.create_task(log_run(process.stderr))
        control.setblocking(False)
        self._loop.add_reader(control.fileno(), self._read_answers)

    @classmethod
    async def launch(cls) -> "ForkServer":
        """Start a fork server, which is ready some time later; raises OSError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "gpu.fork_server", str(theirs.fileno())),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=asyncio.subprocess.PIPE,
                    start_new_session=True,
                    pass_fds=(theirs.fileno(),),
                    env=worker_environment(),
                )
            except BaseException:
                ours.close()
                raise
        return cls(process, ours)

    async def fork(
        self, module: str, arguments: Sequence[str], *, has_output: bool, kept_open: Sequence[int] = ()
    ) -> WorkerProcess:
        """Start a process that runs a module. Raises ForkRefused, ForkServerLost."""
        request = json.dumps({"module": module, "arguments": list(arguments)}).encode()
        async with open_pipes(has_output=has_output) as pipes:
            try:
                socket.send_fds(self._control, [request], [*pipes.descriptors, *kept_open])
            except OSError as error:
                raise ForkRefused(error.strerror) from error
            answer: asyncio.Future[tuple[int, _Child]] = self._loop.create_future()
            self._requests.append(answer)
            pid, child = await self._wait_for(answer)
            return WorkerProcess(pid, pipes.stdin, pipes.stdout, pipes.stderr, child.wait)

    async def wait(self) -> int:
        """Wait until the fork server has ended; return its exit status."""
        status = await self._process.wait()
        await finish_log(self._log_copy)
        return status

    async def close(self) -> None:
        """End the fork server; the processes that it started live on."""
        self._lose()
        self.kill()
        await self.wait()

    def kill(self) -> None:
        """Kill the fork server, which may not answer any more."""
        with suppress(ProcessLookupError):
            self._process.kill()

    async def _wait_for(self, answer: "asyncio.Future[tuple[int, _Child]]") -> "tuple[int, _Child]":
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await answer
        except TimeoutError as error:
            self.kill()
            raise ForkServerLost("the fork server does not answer") from error

    def _read_answers(self) -> None:
        with suppress(BlockingIOError):
            while True:
                try:
                    answer, descriptors, _, _ = socket.recv_fds(
                        self._control, _MAX_ANSWER_BYTES, 1, socket.MSG_CMSG_CLOEXEC
                    )
                except ConnectionError:
                    answer, descriptors = b"", []
                if not answer:
                    self._lose()
                    return
                self._apply(json.loads(answer), *descriptors)

    def _apply(self, answer: dict[str, Any], pidfd: int = -1) -> None:
        if "ready" in answer:
            self.is_ready = self.was_ready = True
        elif "status" in answer:
            self._end(answer["pid"], answer["status"])
        elif "error" in answer:
            request = self._requests.popleft()
            if not request.done():
                request.set_exception(ForkRefused(answer["error"]))
        else:
            child = self._children[answer["pid"]] = _Child(pidfd)
            self._loop.add_reader(pidfd, self._note_exit, answer["pid"])
            request = self._requests.popleft()
            if not request.done():  # else its caller was cancelled, and closed the pipes
                request.set_result((answer["pid"], child))

    def _note_exit(self, pid: int) -> None:
        """Expect the status of a process that has ended; a fork server that does not report it in time is stuck."""
        child = self._children[pid]
        self._loop.remove_reader(child.pidfd)
        if self._control.fileno() < 0:
            self._end(pid, UNKNOWN_STATUS)
        else:
            self._loop.call_later(ANSWER_SECONDS, lambda: None if child.status.done() else self.kill())

    def _end(self, pid: int, status: int) -> None:
        child = self._children.pop(pid)
        self._loop.remove_reader(child.pidfd)
        os.close(child.pidfd)
        child.status.set_result(status)

    def _lose(self) -> None:
        """Note that the fork server has ended: how its processes end will not be known."""
        if self._control.fileno() < 0:
            return
        self.is_ready = False
        self._loop.remove_reader(self._control.fileno())
        self._control.close()
        while self._requests:
            if not (request := self._requests.popleft()).done():
                request.set_exception(ForkServerLost("the fork server has ended"))
        for pid, child in self._children.items():  # also those that have ended before it could report them
            self._loop.add_reader(child.pidfd, self._note_exit, pid)
