"""Decides which containers run: hands out what waits, starts what is missing, ends what is out of date."""

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
LONGEST_BACKOFF_SECONDS = 10.0
STARTUP_SECONDS = 300


class CrashBackoff:
    """How often a function's containers have died in a row, and when the next may start."""

    def __init__(self) -> None:
        self._count = 0
        self.until = -inf

    def add(self, now: float) -> None:
        """Take note of one more, each of which doubles the pause."""
        self.until = now + min(FIRST_BACKOFF_SECONDS * 2.0**self._count, LONGEST_BACKOFF_SECONDS)
        self._count += 1


class Scheduler:
    """All containers. Everything here runs in one event loop; `wake` may be called at any time."""

    def __init__(self, apps: Apps, calls: Calls, faults: Faults, max_containers: int) -> None:
        self._apps = apps
        self._calls = calls
        self._faults = faults
        self._max_containers = max_containers
        self._containers: set[Container] = set()
        self._backoffs: dict[str, CrashBackoff] = {}
        self._stopped = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None
        self._processes: Processes | None = None

    async def run(self, processes: Processes) -> None:
        """Run containers until cancelled, and end with the last of them."""
        self._processes = processes
        try:
            async with asyncio.TaskGroup() as self._tasks:
                self.wake()
                await self._stopped.wait()
        finally:
            self._tasks = None

    def stop(self) -> None:
        """Kill all containers, whose calls wait for the next start."""
        self._stopped.set()
        for container in self._containers:
            container.kill()

    def running(self, call_id: str) -> list[Container]:
        """Return the containers that run a call: more than one when it has been preempted."""
        return [
            container
            for container in self._containers
            if any(run.open_call.call.id == call_id for run in container.runs.values())
        ]

    def wake(self) -> None:
        """Bring containers and calls together as far as faults and limits allow."""
        for container in self._containers:
            self._check(container)
        for function_id, waiting in list(self._calls.waiting.items()):
            function = self._apps.functions.get(function_id)
            if function is None:
                for open_call in list(waiting.values()):
                    self._terminate(open_call, "the app was stopped")
                del self._calls.waiting[function_id]
            elif waiting and not self._faults.hold_calls and not self._stopped.is_set():
                self._serve(function)

    def cancel(self, open_call: OpenCall, *, kill: bool) -> None:
        """Cancel a call where it waits or runs; containers out of reach go on and never learn of it."""
        open_call.cancelled = True
        reached = [each for each in self.running(open_call.call.id) if not each.out_of_reach]
        if kill or not reached:
            self._terminate(open_call, "the call was cancelled")
        for container in reached:
            if kill:
                container.kill()
            else:
                container.cancel(open_call)

    def preempt(self, open_call: OpenCall) -> None:
        """Run a call anew while the containers that run it go on, unreachable."""
        for container in self.running(open_call.call.id):
            container.out_of_reach = True
        self._rerun(open_call)

    def on_output(
        self, container: Container, open_call: OpenCall, output: api_pb2.FunctionGetOutputsItem
    ) -> None:
        """Store a run's output, unless it is to be lost, or the call is to be tried again."""
        self._backoffs.pop(container.function_id, None)
        status = output.result.status
        failure = status in (
            api_pb2.GenericResult.GENERIC_STATUS_FAILURE,
            api_pb2.GenericResult.GENERIC_STATUS_TIMEOUT,
        )
        if self._faults.lose_outputs:
            open_call.lost = True
        elif failure and open_call.call.retries < container.definition.retry_policy.retries:
            open_call.call.retries += 1
            delay = container.definition.retry_policy.initial_delay_ms / 1000
            asyncio.get_running_loop().call_later(delay, self._rerun, open_call)
        elif not open_call.lost:
            self._calls.end(open_call, output)
        self.wake()

    def on_timeout(self, container: Container, open_call: OpenCall) -> None:
        """End a run that has used up its time, and its container with it."""
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

    def _check(self, container: Container) -> None:
        function = self._apps.functions.get(container.function_id)
        if function is None:
            for run in container.runs.values():
                self._terminate(run.open_call, "the app was stopped")
            container.kill()
        elif container.out_of_reach or definition_of(function) is not container.definition:
            container.stop()

    def _serve(self, function: Function) -> None:
        waiting = self._calls.waiting[function.id]
        mine = [each for each in self._containers if each.function_id == function.id]
        for container in mine:
            while waiting and container.give(next(iter(waiting.values()))):
                waiting.popitem(last=False)
        missing = len(waiting) - sum(each.free_slots for each in mine)
        limit = definition_of(function).autoscaler_settings.max_containers or inf
        running = sum(1 for each in mine if not each.out_of_reach)
        while missing > 0 and running < limit and self._may_start(function) and self._tasks:
            container = Container(function, self._calls, self)
            self._containers.add(container)
            self._tasks.create_task(self._live(container))
            missing -= container.slots
            running += 1

    def _may_start(self, function: Function) -> bool:
        loop = asyncio.get_running_loop()
        backoff = self._backoffs.get(function.id)
        if backoff and loop.time() < backoff.until:
            return False
        if sum(1 for each in self._containers if not each.out_of_reach) < self._max_containers:
            return True
        idle = (each for each in self._containers if each.idle and each.function_id != function.id)
        if container := next(idle, None):
            container.stop()
        return False

    async def _live(self, container: Container) -> None:
        assert self._processes
        if await container.is_killed_within(self._faults.start_delay_seconds):
            self._on_exit(container)
            return
        seconds = container.definition.startup_timeout_secs or STARTUP_SECONDS
        late = asyncio.get_running_loop().call_later(seconds, container.kill_unless_ready)
        try:
            code = await self._processes.run(container, self._apps.layout(container.app_id))
            if not container.stopping:
                logger.warning("container %s exited unexpectedly with code %d", container.id, code)
        except OSError:
            logger.exception("container %s did not start", container.id)
        finally:
            late.cancel()
            self._on_exit(container)

    def _on_exit(self, container: Container) -> None:
        self._containers.discard(container)
        for open_call in reversed(container.abandon()):
            if not container.out_of_reach:
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
