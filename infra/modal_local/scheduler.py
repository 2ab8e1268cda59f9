"""Schedule calls: assign them to containers, start missing containers, stop outdated ones."""

import asyncio
import logging
from math import inf

from modal_proto import api_pb2

from infra.modal_local.apps import Apps
from infra.modal_local.calls import Calls, OpenCall, failure_output
from infra.modal_local.container import Container
from infra.modal_local.faults import Faults
from infra.modal_local.functions import definition_of
from infra.modal_local.process import Processes
from infra.modal_local.state import Function

logger = logging.getLogger("framehook.modal_local")

FIRST_BACKOFF_SECONDS = 0.1
MAX_BACKOFF_SECONDS = 10.0
STARTUP_SECONDS = 300


class CrashBackoff:
    """The consecutive crashes of a function's containers, and when the next may start."""

    def __init__(self) -> None:
        self._count = 0
        self.until = -inf

    def add(self, now: float) -> None:
        """Record a crash, which doubles the pause."""
        self.until = now + min(FIRST_BACKOFF_SECONDS * 2.0**self._count, MAX_BACKOFF_SECONDS)
        self._count += 1


class Scheduler:
    """All containers; runs in one event loop, and `wake` may be called at any time."""

    def __init__(self, apps: Apps, calls: Calls, faults: Faults, max_containers: int) -> None:
        self._apps = apps
        self._calls = calls
        self._faults = faults
        self._max_containers = max_containers
        self._containers: set[Container] = set()
        self._backoffs: dict[str, CrashBackoff] = {}
        self._stop_requested = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None
        self._processes: Processes | None = None

    async def run(self, processes: Processes) -> None:
        """Run containers until `stop`, and return after the last has ended."""
        self._processes = processes
        try:
            async with asyncio.TaskGroup() as self._tasks:
                self.wake()
                await self._stop_requested.wait()
        finally:
            self._tasks = None

    def stop(self) -> None:
        """Kill all containers; their calls are repeated after the next start."""
        self._stop_requested.set()
        for container in self._containers:
            container.kill()

    def find_containers(self, call_id: str) -> list[Container]:
        """Return the containers that run a call; several if it was preempted."""
        return [
            container
            for container in self._containers
            if any(run.open_call.call.id == call_id for run in container.runs.values())
        ]

    def wake(self) -> None:
        """Assign waiting calls to containers as far as faults and limits allow."""
        for container in self._containers:
            self._stop_outdated(container)
        for function_id, waiting in list(self._calls.waiting.items()):
            function = self._apps.functions.get(function_id)
            if function is None:
                for open_call in list(waiting.values()):
                    self._terminate(open_call, "the app was stopped")
                del self._calls.waiting[function_id]
            elif waiting and not self._faults.hold_calls and not self._stop_requested.is_set():
                self._assign_and_start(function)

    def cancel(self, open_call: OpenCall, *, kill: bool) -> None:
        """Cancel a waiting or running call; runs in unreachable containers continue."""
        open_call.cancelled = True
        reachable = [
            container for container in self.find_containers(open_call.call.id) if not container.is_unreachable
        ]
        if kill or not reachable:
            self._terminate(open_call, "the call was cancelled")
        for container in reachable:
            if kill:
                container.kill()
            else:
                container.cancel(open_call)

    def preempt(self, open_call: OpenCall) -> None:
        """Repeat a call while the containers that run it continue unreachable."""
        for container in self.find_containers(open_call.call.id):
            container.is_unreachable = True
        self._rerun(open_call)

    def on_output(
        self, container: Container, open_call: OpenCall, output: api_pb2.FunctionGetOutputsItem
    ) -> None:
        """Store the output of a run, unless a fault loses it or the call is retried."""
        self._backoffs.pop(container.function_id, None)
        status = output.result.status
        is_failure = status in (
            api_pb2.GenericResult.GENERIC_STATUS_FAILURE,
            api_pb2.GenericResult.GENERIC_STATUS_TIMEOUT,
        )
        if self._faults.lose_outputs:
            open_call.lost = True
        elif is_failure and open_call.call.retries < container.definition.retry_policy.retries:
            open_call.call.retries += 1
            delay = container.definition.retry_policy.initial_delay_ms / 1000
            asyncio.get_running_loop().call_later(delay, self._rerun, open_call)
        elif not open_call.lost:
            self._calls.end(open_call, output)
        self.wake()

    def on_timeout(self, container: Container, open_call: OpenCall) -> None:
        """Fail a run that has exceeded its timeout, and kill its container."""
        seconds = container.definition.timeout_secs
        status = api_pb2.GenericResult.GENERIC_STATUS_TIMEOUT
        self.on_output(
            container,
            open_call,
            failure_output(status, f"Task's current input hit its timeout of {seconds}s"),
        )
        container.kill()

    def _rerun(self, open_call: OpenCall) -> None:
        if open_call.cancelled:
            self._terminate(open_call, "the call was cancelled")
        else:
            self._calls.requeue(open_call)
            asyncio.get_running_loop().call_soon(self.wake)

    def _terminate(self, open_call: OpenCall, reason: str) -> None:
        self._calls.end(open_call, failure_output(api_pb2.GenericResult.GENERIC_STATUS_TERMINATED, reason))

    def _stop_outdated(self, container: Container) -> None:
        function = self._apps.functions.get(container.function_id)
        if function is None:
            for run in container.runs.values():
                self._terminate(run.open_call, "the app was stopped")
            container.kill()
        elif container.is_unreachable or definition_of(function) is not container.definition:
            container.stop()

    def _assign_and_start(self, function: Function) -> None:
        waiting = self._calls.waiting[function.id]
        containers = [container for container in self._containers if container.function_id == function.id]
        for container in containers:
            while waiting and container.assign(next(iter(waiting.values()))):
                waiting.popitem(last=False)
        missing = len(waiting) - sum(container.free_slots for container in containers)
        limit = definition_of(function).autoscaler_settings.max_containers or inf
        running = sum(1 for container in containers if not container.is_unreachable)
        while missing > 0 and running < limit and self._can_start(function) and self._tasks:
            container = Container(function, self._calls, self)
            self._containers.add(container)
            self._tasks.create_task(self._run_container(container))
            missing -= container.slots
            running += 1

    def _can_start(self, function: Function) -> bool:
        loop = asyncio.get_running_loop()
        backoff = self._backoffs.get(function.id)
        if backoff and loop.time() < backoff.until:
            return False
        if sum(1 for container in self._containers if not container.is_unreachable) < self._max_containers:
            return True
        idle = (
            container
            for container in self._containers
            if container.is_idle and container.function_id != function.id
        )
        if container := next(idle, None):
            container.stop()
        return False

    async def _run_container(self, container: Container) -> None:
        assert self._processes
        if await container.wait_killed(self._faults.start_delay_seconds):
            self._on_exit(container)
            return
        seconds = container.definition.startup_timeout_secs or STARTUP_SECONDS
        startup_timer = asyncio.get_running_loop().call_later(seconds, container.kill_unless_ready)
        try:
            code = await self._processes.run(container, self._apps.get_layout(container.app_id))
            if not container.stopping:
                logger.warning("container %s exited unexpectedly with code %d", container.id, code)
        except OSError:
            logger.exception("container %s did not start", container.id)
        finally:
            startup_timer.cancel()
            self._on_exit(container)

    def _on_exit(self, container: Container) -> None:
        self._containers.discard(container)
        for open_call in reversed(container.drop_runs()):
            if not container.is_unreachable:
                self._rerun(open_call)
        if not container.stopping:
            self._record_crash(container)
        self.wake()

    def _record_crash(self, container: Container) -> None:
        function = self._apps.functions.get(container.function_id)
        if function and container.failure and not self._apps.is_deployed(function):
            output = api_pb2.FunctionGetOutputsItem(result=container.failure)
            for open_call in list(self._calls.waiting[function.id].values()):
                self._calls.end(open_call, output)
            return
        loop = asyncio.get_running_loop()
        backoff = self._backoffs.setdefault(container.function_id, CrashBackoff())
        backoff.add(loop.time())
        loop.call_at(backoff.until, self.wake)
