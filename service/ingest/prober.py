"""What is in a file, found out by a process of its own: its bytes are not trusted in this one."""

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from gpu.crash_signals import crash_error, is_crash
from gpu.spec import LocalFile, RemoteObject
from service.problems import Problem, QuotaExceeded, Unavailable
from service.worker_process import finish_log, log_run, worker_environment

MAX_ANSWER_BYTES = 1024 * 1024
MAX_WAITING_PER_USER = 8


class UnreadableSource(Problem):
    """The file can't be exported, or it could not be told what is in it; `code` is the export's own."""

    title = "The file can't be exported."
    status = 422

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class TooManyProbes(QuotaExceeded):
    """Too many files are looked at for this user at a time."""

    title = "Too many files are looked at for this user at a time."
    code = "too_many_probes"

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "2"})


class Prober:
    """Looks at `places` files at a time, one for each user, and at each for `seconds` at most."""

    def __init__(self, *, places: int = 2, seconds: float = 30.0) -> None:
        self._seconds = seconds
        self._places = asyncio.Semaphore(places)
        self._waiting: Counter[str] = Counter()
        self._turns: dict[str, asyncio.Lock] = {}

    async def probe(self, user_id: str, place: LocalFile | RemoteObject) -> dict[str, Any]:
        """Tell what is in a file. Raises Unprobed, Unavailable, TooManyProbes."""
        async with self._turn(user_id), self._places:
            answer = await self._ask(place)
        if "error" not in answer:
            source: dict[str, Any] = answer["source"]
            return source
        error = answer["error"]
        if error["transient"]:
            raise Unavailable(error["message"])
        raise UnreadableSource(error["code"], error["message"])

    @asynccontextmanager
    async def _turn(self, user_id: str) -> AsyncIterator[None]:
        """Wait until no other file of the user's is looked at."""
        if self._waiting[user_id] >= MAX_WAITING_PER_USER:
            raise TooManyProbes
        self._waiting[user_id] += 1
        try:
            async with self._turns.setdefault(user_id, asyncio.Lock()):
                yield
        finally:
            self._waiting[user_id] -= 1
            if not self._waiting[user_id]:
                del self._waiting[user_id], self._turns[user_id]

    async def _ask(self, place: LocalFile | RemoteObject) -> dict[str, Any]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gpu.sources.describe"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            env=worker_environment(),
            limit=MAX_ANSWER_BYTES,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        logging_probe = asyncio.create_task(log_run(process.stderr))
        try:
            # Its input stays open: it ends where that does, and so with this process.
            process.stdin.write(place.model_dump_json().encode() + b"\n")
            async with asyncio.timeout(self._seconds):
                line = await process.stdout.readline()
                status = 0 if line else await process.wait()
        except TimeoutError:
            return _error(
                "probe_timeout", f"It could not be told in {self._seconds:g} s what is in the file."
            )
        except ValueError:
            return _error("source_unreadable", "The file has too many tracks.")
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.stdin.close()
            await process.wait()
            await finish_log(logging_probe)
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        crash = crash_error()
        if is_crash(status):
            return _error(crash.code, crash.message)
        raise Unavailable


def _error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "transient": False}}
