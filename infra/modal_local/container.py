"""A container as the control plane sees it: what it runs, and what it asks over a socket of its own."""

import asyncio
from collections import deque
from contextlib import suppress
from typing import Protocol

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2

from infra.modal_local.calls import Calls, OpenCall
from infra.modal_local.functions import definition_of
from infra.modal_local.state import Function, new_id

# The SDK gives a heartbeat up after 15.1 s and begins the next 15 s after the last: no gap for a cancellation.
HEARTBEAT_SECONDS = 14.9
IDLE_SECONDS = 60.0


class ContainerOwner(Protocol):
    """What a container needs of the fleet, which in turn holds containers."""

    def wake(self) -> None:
        """Look for work, since a container is free."""

    def on_output(
        self, container: "Container", open_call: OpenCall, output: api_pb2.FunctionGetOutputsItem
    ) -> None:
        """Take what a run has come to."""

    def on_timeout(self, container: "Container", open_call: OpenCall) -> None:
        """Take note that a run has used up its time; the container no longer answers for it."""


class Run:
    """One try of a call in one container."""

    def __init__(self, open_call: OpenCall, deadline: asyncio.TimerHandle | None) -> None:
        self.open_call = open_call
        self.deadline = deadline


class Container:
    """One container; its public coroutines answer the RPCs that only containers send."""

    def __init__(self, function: Function, calls: Calls, owner: ContainerOwner) -> None:
        self.id = new_id("ta")
        self.function_id = function.id
        self.app_id = function.app_id
        self.parameters = function.parameters
        self.definition = definition_of(function)
        self.runs: dict[str, Run] = {}
        self.ready = False
        self.stopping = False
        self.out_of_reach = False
        self.failure: api_pb2.GenericResult | None = None
        self.killed = asyncio.Event()
        self._calls = calls
        self._owner = owner
        self._asking: deque[asyncio.Future[OpenCall | None]] = deque()
        self._cancelled: asyncio.Queue[str] = asyncio.Queue()

    @property
    def slots(self) -> int:
        """How many calls it takes at a time."""
        return max(1, self.definition.max_concurrent_inputs)

    @property
    def free_slots(self) -> int:
        """How many more calls it takes now, or as soon as it is ready."""
        return 0 if self.stopping else self.slots - len(self.runs)

    @property
    def idle(self) -> bool:
        """Whether it waits for a call and runs none."""
        return self.ready and not self.runs and not self.stopping

    def give(self, open_call: OpenCall) -> bool:
        """Hand it a call, if it asks for one and does not run that one already."""
        if self.stopping or not self._asking or open_call.call.input_id in self.runs:
            return False
        loop = asyncio.get_running_loop()
        seconds = self.definition.timeout_secs
        deadline = loop.call_later(seconds, self._overdue, open_call) if seconds else None
        self.runs[open_call.call.input_id] = Run(open_call, deadline)
        self.stopping = self.definition.single_use_containers
        self._asking.popleft().set_result(open_call)
        return True

    async def is_killed_within(self, seconds: float) -> bool:
        """Wait, and tell whether it was killed meanwhile."""
        if seconds > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.killed.wait()
        return self.killed.is_set()

    def stop(self) -> None:
        """Let it end after what it runs."""
        self.stopping = True
        while self._asking:
            self._asking.popleft().set_result(None)

    def kill(self) -> None:
        """End it at once, with all that it runs."""
        self.stopping = True
        self.killed.set()

    def crash(self) -> None:
        """End it at once, as if by itself."""
        self.killed.set()

    def kill_unless_ready(self) -> None:
        """End it if it hasn't come to ask for a call by now."""
        if not self.ready:
            self.crash()

    def cancel(self, open_call: OpenCall) -> None:
        """Interrupt one of its runs, which then reports that it was terminated."""
        self._cancelled.put_nowait(open_call.call.input_id)

    def abandon(self) -> list[OpenCall]:
        """Return the calls it was running, none of which it still answers for."""
        left = [run.open_call for run in self.runs.values()]
        for input_id in list(self.runs):
            self._forget(input_id)
        return left

    async def container_hello(self, _request: Empty) -> Empty:
        """Greet it."""
        return Empty()

    async def container_heartbeat(
        self, _request: api_pb2.ContainerHeartbeatRequest
    ) -> api_pb2.ContainerHeartbeatResponse:
        """Hold the answer until one of its runs is cancelled, or the next heartbeat is due."""
        answer = api_pb2.ContainerHeartbeatResponse()
        try:
            async with asyncio.timeout(HEARTBEAT_SECONDS):
                answer.cancel_input_event.input_ids.append(await self._cancelled.get())
        except TimeoutError:
            return api_pb2.ContainerHeartbeatResponse()
        return answer

    async def function_get_inputs(
        self, _request: api_pb2.FunctionGetInputsRequest
    ) -> api_pb2.FunctionGetInputsResponse:
        """Hold the answer until there is a call for it, or it has been idle for too long."""
        self.ready = True
        open_call = await self._next()
        answer = api_pb2.FunctionGetInputsResponse()
        if open_call is None:
            self.stopping = True
            answer.inputs.add(kill_switch=True)
            return answer
        call = open_call.call
        answer.inputs.add(
            input_id=call.input_id,
            input=api_pb2.FunctionInput.FromString(call.input),
            function_call_id=call.id,
            function_call_invocation_type=call.invocation,
            retry_count=call.retries,
        )
        return answer

    async def _next(self) -> OpenCall | None:
        idle_seconds = self.definition.autoscaler_settings.scaledown_window or IDLE_SECONDS
        while not self.stopping:
            asking: asyncio.Future[OpenCall | None] = asyncio.get_running_loop().create_future()
            self._asking.append(asking)
            self._owner.wake()
            done, _ = await asyncio.wait([asking], timeout=idle_seconds)
            if done:
                return asking.result()
            self._asking.remove(asking)
            if not self.runs:
                return None
        return None

    async def function_put_outputs(self, request: api_pb2.FunctionPutOutputsRequest) -> Empty:
        """Take what its runs have come to."""
        for item in request.outputs:
            if run := self._forget(item.input_id):
                output = api_pb2.FunctionGetOutputsItem(
                    result=item.result,
                    data_format=item.data_format,
                    task_id=self.id,
                    input_started_at=item.input_started_at,
                    output_created_at=item.output_created_at,
                    retry_count=item.retry_count,
                )
                self._owner.on_output(self, run.open_call, output)
        return Empty()

    async def function_call_put_data_out(self, request: api_pb2.FunctionCallPutDataRequest) -> Empty:
        """Take what a generator yields."""
        self._calls.stream(request.function_call_id).extend(request.data_chunks)
        return Empty()

    async def function_get_dynamic_concurrency(
        self, request: api_pb2.FunctionGetDynamicConcurrencyRequest
    ) -> api_pb2.FunctionGetDynamicConcurrencyResponse:
        """Answer with as much as it asks for."""
        return api_pb2.FunctionGetDynamicConcurrencyResponse(concurrency=request.max_concurrency)

    async def task_result(self, request: api_pb2.TaskResultRequest) -> Empty:
        """Take note of why it ends before its time, as when its image lacks what it imports."""
        self.failure = request.result
        return Empty()

    def _overdue(self, open_call: OpenCall) -> None:
        self._forget(open_call.call.input_id)
        self._owner.on_timeout(self, open_call)

    def _forget(self, input_id: str) -> Run | None:
        run = self.runs.pop(input_id, None)
        if run and run.deadline:
            run.deadline.cancel()
        return run
