"""A runner whose calls are counted."""

import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

from gpu.spec import AttemptSpec
from service.dispatch.runners.base import CallStatus, Failed, Runner, RunnerNotice, RunnerRefused
from service.metrics.traffic import RunnerMetrics

T = TypeVar("T")
TraceSpawn = Callable[[AttemptSpec], AbstractContextManager[object]]


class MeasuredRunner:
    """Passes every call on, and counts it by its result."""

    def __init__(
        self, runner: Runner, metrics: RunnerMetrics, trace_spawn: TraceSpawn = lambda _spec: nullcontext()
    ) -> None:
        """Keep what `trace_spawn` returns open while a run is started."""
        self._runner = runner
        self._trace_spawn = trace_spawn
        self._metrics = metrics
        self.name, self.gpu = runner.name, runner.gpu
        self.shares_filesystem, self.instance = runner.shares_filesystem, runner.instance
        self.freed = runner.freed
        self.max_runs, self.busy_reason = runner.max_runs, runner.busy_reason

    @property
    def notice(self) -> RunnerNotice | None:
        return self._runner.notice

    def capacity(self) -> int:
        return self._runner.capacity()

    def call_id_for(self, job_id: str, attempt: int) -> str:
        return self._runner.call_id_for(job_id, attempt)

    async def spawn(self, spec: AttemptSpec) -> str:
        with self._trace_spawn(spec):
            return await self._measure("spawn", self._runner.spawn(spec))

    async def probe(self, call_id: str) -> CallStatus:
        started = time.perf_counter()
        status = await self._runner.probe(call_id)
        result = status.code if isinstance(status, Failed) else type(status).__name__.lower()
        self._metrics.count(self.name, "probe", result, time.perf_counter() - started)
        return status

    def drain_ended(self) -> list[str]:
        return self._runner.drain_ended()

    async def cancel(self, call_id: str) -> None:
        await self._measure("cancel", self._runner.cancel(call_id))

    async def check(self) -> None:
        await self._measure("check", self._runner.check())

    async def close(self) -> None:
        await self._runner.close()

    async def _measure(self, call: str, work: Awaitable[T]) -> T:
        started, result = time.perf_counter(), "interrupted"
        try:
            value = await work
            result = "ok"
        except RunnerRefused as refused:
            result = refused.code
            raise
        finally:
            self._metrics.count(self.name, call, result, time.perf_counter() - started)
        return value
