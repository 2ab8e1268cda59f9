"""Describe a media file in a separate process: its bytes are not trusted in this one."""

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

from gpu.crash_signals import crash_error, is_crash
from gpu.estimates.answer import PlannedExport
from gpu.spec import EstimateSpec, LocalFile, RemoteObject
from infra.storage import Storage
from service.problems import FieldError, Problem, QuotaExceeded, Unavailable
from service.workers.log import finish_log, log_run
from service.workers.starter import WorkerStarter

MAX_WAITING, MAX_WAITING_PER_USER = 64, 8
URL_SECONDS = 600


class UnreadableSource(Problem):
    """The file can't be exported, or could not be read; `code` is the one of an export."""

    title = "The file can't be exported."
    status = 422

    def __init__(self, code: str, message: str, *, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(message, errors=errors)
        self.code = code


class TooManyProbes(QuotaExceeded):
    """Too many files of this user are waiting to be read."""

    title = "Too many of your files are being read now. Try again in 2 seconds."
    code = "too_many_probes"

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "2"})


class Prober:
    """Probe files: `slots` at a time, one per user, each for `seconds` at most."""

    def __init__(
        self,
        starter: WorkerStarter | None = None,
        *,
        slots: int = 2,
        seconds: float = 30.0,
        max_waiting: int | None = None,
    ) -> None:
        """With `max_waiting` files of all users waiting or being read, another one is refused."""
        self._starter = starter or WorkerStarter()
        self._seconds = seconds
        self._slots = asyncio.Semaphore(slots)
        self._max_waiting = max_waiting
        self._waiting: Counter[str] = Counter()
        self._locks: dict[str, asyncio.Lock] = {}

    async def probe(
        self, user_id: str, location: LocalFile | RemoteObject, *, output_type: str | None = None
    ) -> dict[str, Any]:
        """Return the description of a source, or of an output of an export type that makes no video.

        Raises UnreadableSource, Unavailable, TooManyProbes.
        """
        arguments = ["gpu.sources.describe"]
        if output_type is not None:
            arguments = ["gpu.export_types.inspect_output", output_type]
        return await self._answer(user_id, location, arguments)

    async def estimate(self, user_id: str, spec: EstimateSpec) -> PlannedExport:
        """Plan an export by its configuration and its sources.

        Raises UnreadableSource, which names the field of the configuration, Unavailable, TooManyProbes.
        """
        return cast(PlannedExport, await self._answer(user_id, spec, ["gpu.estimates.process"]))

    async def _answer(
        self, user_id: str, request: LocalFile | RemoteObject | EstimateSpec, arguments: Sequence[str]
    ) -> dict[str, Any]:
        async with self._wait_for_turn(user_id), self._slots:
            answer = await self._run_probe(request, arguments)
        if "error" not in answer:
            source: dict[str, Any] = answer["source"]
            return source
        error = answer["error"]
        if error["transient"]:
            raise Unavailable(error["message"])
        errors = []
        if isinstance(request, EstimateSpec) and "loc" in error:
            errors = [FieldError(loc=["config", *error["loc"]], msg=error["message"])]
        raise UnreadableSource(error["code"], error["message"], errors=errors)

    @asynccontextmanager
    async def _wait_for_turn(self, user_id: str) -> AsyncIterator[None]:
        """Wait until no other file of the user is probed."""
        if self._waiting[user_id] >= MAX_WAITING_PER_USER:
            raise TooManyProbes
        if self._max_waiting is not None and self._waiting.total() >= self._max_waiting:
            raise Unavailable
        self._waiting[user_id] += 1
        try:
            async with self._locks.setdefault(user_id, asyncio.Lock()):
                yield
        finally:
            self._waiting[user_id] -= 1
            if not self._waiting[user_id]:
                del self._waiting[user_id], self._locks[user_id]

    async def _run_probe(
        self, request: LocalFile | RemoteObject | EstimateSpec, arguments: Sequence[str]
    ) -> dict[str, Any]:
        process = await self._starter.start(*arguments, has_output=True)
        assert process.stdout is not None
        log_task = asyncio.create_task(log_run(process.stderr))
        try:
            # The input stays open: the probe ends when it is closed, also by the end of this process.
            process.stdin.write(request.model_dump_json(by_alias=True).encode() + b"\n")
            async with asyncio.timeout(self._seconds):
                line = await process.stdout.readline()
                status = 0 if line else await process.wait()
        except TimeoutError:
            return _error(
                "probe_timeout", f"Reading the file took longer than {self._seconds:g} s. Try again later."
            )
        except ValueError:
            return _error("source_unreadable", "The file has too many tracks.")
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.stdin.close()
            await process.wait()
            await finish_log(log_task)
        return _read_answer(line, status)


async def locate_object(storage: Storage, user_id: str, key: str) -> LocalFile | RemoteObject:
    """Return where a probe reads an object of the user: a path, or a signed URL."""
    path = storage.local_path(user_id, key)
    if path is not None:
        return LocalFile(path=str(path))
    return RemoteObject(url=(await storage.sign_read_url(user_id, key, expires_seconds=URL_SECONDS)).url)


def _read_answer(line: bytes, status: int) -> dict[str, Any]:
    """Return what a probe wrote, or the error of one that a signal ended. Raises Unavailable for other ends."""
    if line:
        answer: dict[str, Any] = json.loads(line)
        return answer
    crash = crash_error()
    if is_crash(status):
        return _error(crash.code, crash.message)
    raise Unavailable


def _error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "transient": False}}
