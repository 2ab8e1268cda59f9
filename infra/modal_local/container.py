"""A container as the control plane sees it: its runs, and the RPCs that it sends over its socket."""

import asyncio
from collections import deque
from contextlib import suppress
from typing import Protocol

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2

from infra.modal_local.calls import Calls, OpenCall
from infra.modal_local.functions import definition_of
from infra.modal_local.state import Function, new_id

# The SDK abandons a heartbeat after 15.1 s and sends one every 15 s, so that a cancellation always finds one open.
HEARTBEAT_SECONDS = 14.9
IDLE_SECONDS = 60.0


class ContainerOwner(Protocol):
    """What a container needs of the scheduler, which refers to containers itself."""

    def wake(self) -> None:
        """Assign calls, because a container has a free slot."""

    def on_output(
        self, container: "Container", open_call: OpenCall, output: api_pb2.FunctionGetOutputsItem
    ) -> None:
        """Store the output of a run."""

    def on_timeout(self, container: "Container", open_call: OpenCall) -> None:
        """End a run that has exceeded its timeout and is no longer in `runs`."""


class Run:
    """One execution of a call in one container."""

    def __init__(self, open_call: OpenCall, deadline: asyncio.TimerHandle | None) -> None:
        self.open_call = open_call
        self.deadline = deadline


class Container:
    """One container; its coroutines named after RPCs answer those that only containers send."""

    def __init__(self, function: Function, calls: Calls, owner: ContainerOwner) -> None:
        self.id = new_id("ta")
        self.function_id = function.id
        self.app_id = function.app_id
        self.parameters = function.parameters
        self.definition = definition_of(function)
        self.runs: dict[str, Run] = {}
        self.ready = False
        self.stopping = False
        self.is_unreachable = False
        self.failure: api_pb2.GenericResult | None = None
        self.killed = asyncio.Event()
        self._calls = calls
        self._owner = owner
        self._pollers: deque[asyncio.Future[OpenCall | None]] = deque()
        self._cancelled: asyncio.Queue[str] = asyncio.Queue()

    @property
    def slots(self) -> int:
        """The number of calls that it runs concurrently."""
        return max(1, self.definition.max_concurrent_inputs)

    @property
    def free_slots(self) -> int:
        """The number of further calls that it can run now, or once it is ready."""
        return 0 if self.stopping else self.slots - len(self.runs)

    @property
    def is_idle(self) -> bool:
        """Whether it is ready and runs no call."""
        return self.ready and not self.runs and not self.stopping

    def assign(self, open_call: OpenCall) -> bool:
        """Assign a call; return False if the container polls for none or already runs it."""
        if self.stopping or not self._pollers or open_call.call.input_id in self.runs:
            return False
        loop = asyncio.get_running_loop()
        seconds = self.definition.timeout_secs
        deadline = loop.call_later(seconds, self._on_timeout, open_call) if seconds else None
        self.runs[open_call.call.input_id] = Run(open_call, deadline)
        self.stopping = self.definition.single_use_containers
        self._pollers.popleft().set_result(open_call)
        return True

    async def wait_killed(self, seconds: float) -> bool:
        """Wait this long at most and return whether the container was killed."""
        if seconds > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.killed.wait()
        return self.killed.is_set()

    def stop(self) -> None:
        """Stop after the current runs."""
        self.stopping = True
        while self._pollers:
            self._pollers.popleft().set_result(None)

    def kill(self) -> None:
        """Kill the container and all its runs."""
        self.stopping = True
        self.killed.set()

    def crash(self) -> None:
        """Kill the container as if it had crashed."""
        self.killed.set()

    def kill_unless_ready(self) -> None:
        """Crash the container if it has not polled for a call yet."""
        if not self.ready:
            self.crash()

    def cancel(self, open_call: OpenCall) -> None:
        """Interrupt the run of a call, which then reports that it was terminated."""
        self._cancelled.put_nowait(open_call.call.input_id)

    def drop_runs(self) -> list[OpenCall]:
        """Remove all runs and return their calls."""
        open_calls = [run.open_call for run in self.runs.values()]
        for input_id in list(self.runs):
            self._remove_run(input_id)
        return open_calls

    async def container_hello(self, _request: Empty) -> Empty:
        """Confirm the start of the container."""
        return Empty()

    async def container_heartbeat(
        self, _request: api_pb2.ContainerHeartbeatRequest
    ) -> api_pb2.ContainerHeartbeatResponse:
        """Respond when one of the runs is cancelled, or the next heartbeat is due."""
        response = api_pb2.ContainerHeartbeatResponse()
        try:
            async with asyncio.timeout(HEARTBEAT_SECONDS):
                response.cancel_input_event.input_ids.append(await self._cancelled.get())
        except TimeoutError:
            return api_pb2.ContainerHeartbeatResponse()
        return response

    async def function_get_inputs(
        self, _request: api_pb2.FunctionGetInputsRequest
    ) -> api_pb2.FunctionGetInputsResponse:
        """Respond when a call is assigned, or the container has been idle for too long."""
        self.ready = True
        open_call = await self._wait_for_call()
        response = api_pb2.FunctionGetInputsResponse()
        if open_call is None:
            self.stopping = True
            response.inputs.add(kill_switch=True)
            return response
        call = open_call.call
        response.inputs.add(
            input_id=call.input_id,
            input=api_pb2.FunctionInput.FromString(call.input),
            function_call_id=call.id,
            function_call_invocation_type=call.invocation,
            retry_count=call.retries,
        )
        return response

    async def _wait_for_call(self) -> OpenCall | None:
        idle_seconds = self.definition.autoscaler_settings.scaledown_window or IDLE_SECONDS
        while not self.stopping:
            poll: asyncio.Future[OpenCall | None] = asyncio.get_running_loop().create_future()
            self._pollers.append(poll)
            self._owner.wake()
            done, _ = await asyncio.wait([poll], timeout=idle_seconds)
            if done:
                return poll.result()
            self._pollers.remove(poll)
            if not self.runs:
                return None
        return None

    async def function_put_outputs(self, request: api_pb2.FunctionPutOutputsRequest) -> Empty:
        """Pass the outputs of runs to the owner."""
        for item in request.outputs:
            if run := self._remove_run(item.input_id):
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
        """Append what a generator yields to its stream."""
        self._calls.get_stream(request.function_call_id).extend(request.data_chunks)
        return Empty()

    async def function_get_dynamic_concurrency(
        self, request: api_pb2.FunctionGetDynamicConcurrencyRequest
    ) -> api_pb2.FunctionGetDynamicConcurrencyResponse:
        """Return the requested concurrency."""
        return api_pb2.FunctionGetDynamicConcurrencyResponse(concurrency=request.max_concurrency)

    async def task_result(self, request: api_pb2.TaskResultRequest) -> Empty:
        """Record why the container fails, for example because its image lacks an import."""
        self.failure = request.result
        return Empty()

    def _on_timeout(self, open_call: OpenCall) -> None:
        self._remove_run(open_call.call.input_id)
        self._owner.on_timeout(self, open_call)

    def _remove_run(self, input_id: str) -> Run | None:
        run = self.runs.pop(input_id, None)
        if run and run.deadline:
            run.deadline.cancel()
        return run
