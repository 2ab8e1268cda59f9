"""The RPCs for calls: submit one, wait for its output, cancel it."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from infra.modal_local.apps import Apps
from infra.modal_local.calls import Calls
from infra.modal_local.faults import Faults, refuse
from infra.modal_local.functions import definition_of
from infra.modal_local.rpc import idempotency_key
from infra.modal_local.scheduler import Scheduler
from infra.modal_local.state import Call

MAX_KEYS = 10_000


class ClientApi:
    """The RPCs for calls, used by clients and by functions that call others."""

    def __init__(self, apps: Apps, calls: Calls, scheduler: Scheduler, faults: Faults) -> None:
        self._apps = apps
        self._calls = calls
        self._scheduler = scheduler
        self._faults = faults
        self._calls_by_key: OrderedDict[str, Call] = OrderedDict()

    async def client_hello(self, _request: Empty) -> api_pb2.ClientHelloResponse:
        """Confirm the token of a client, which has been checked before."""
        return api_pb2.ClientHelloResponse()

    async def function_map(self, request: api_pb2.FunctionMapRequest) -> api_pb2.FunctionMapResponse:
        """Submit a call with one input, once for all repetitions of the same request."""
        refuse(self._faults.refuse_spawns, "FunctionMap")
        function = self._apps.functions.get(request.function_id)
        if function is None or not function.definition:
            raise GRPCError(Status.NOT_FOUND, f"Function {request.function_id} not found")
        if len(request.pipelined_inputs) != 1:
            raise GRPCError(
                Status.UNIMPLEMENTED,
                "map is not implemented by the local control plane: FunctionMap takes one input",
            )
        await asyncio.sleep(self._faults.spawn_delay_seconds)
        call = self._submit_once(request)
        self._scheduler.wake()
        await asyncio.sleep(self._faults.spawn_answer_delay_seconds)
        response = api_pb2.FunctionMapResponse(
            function_call_id=call.id,
            function_call_jwt=call.id,
            retry_policy=definition_of(function).retry_policy,
        )
        response.pipelined_inputs.add(input_id=call.input_id, input_jwt=call.input_id)
        return response

    def _submit_once(self, request: api_pb2.FunctionMapRequest) -> Call:
        key = idempotency_key.get()
        if key in self._calls_by_key:
            return self._calls_by_key[key]
        call = self._calls.submit(
            request.function_id, request.pipelined_inputs[0].input, request.function_call_invocation_type
        )
        if key:
            self._calls_by_key[key] = call
        if len(self._calls_by_key) > MAX_KEYS:
            self._calls_by_key.popitem(last=False)
        return call

    async def function_get_outputs(
        self, request: api_pb2.FunctionGetOutputsRequest
    ) -> api_pb2.FunctionGetOutputsResponse:
        """Return the output of a call; without one after `timeout` seconds an empty list."""
        refuse(self._faults.refuse_polls, "FunctionGetOutputs")
        call = self._find(request.function_call_id)
        if request.timeout > 0 and (open_call := self._calls.find_open(call.id)):
            try:
                async with asyncio.timeout(request.timeout):
                    await open_call.ended.wait()
            except TimeoutError:
                pass
            call = self._find(request.function_call_id)
        response = api_pb2.FunctionGetOutputsResponse(num_unfinished_inputs=0 if call.finished_at else 1)
        if call.output:
            output = api_pb2.FunctionGetOutputsItem.FromString(call.output)
            output.input_id = call.input_id
            response.outputs.append(output)
        return response

    async def function_call_from_id(
        self, request: api_pb2.FunctionCallFromIdRequest
    ) -> api_pb2.FunctionCallFromIdResponse:
        """Return the app and function of a call."""
        call = self._find(request.function_call_id)
        function = self._apps.functions.get(call.function_id)
        metadata = api_pb2.FunctionCallHandleMetadata(
            app_id=function.app_id if function else "", function_id=call.function_id
        )
        return api_pb2.FunctionCallFromIdResponse(function_call_id=call.id, num_inputs=1, metadata=metadata)

    async def function_call_cancel(self, request: api_pb2.FunctionCallCancelRequest) -> Empty:
        """Cancel a call; no-op if it has ended."""
        if open_call := self._calls.find_open(self._find(request.function_call_id).id):
            self._scheduler.cancel(open_call, kill=request.terminate_containers)
        return Empty()

    async def function_call_get_data_out(
        self, request: api_pb2.FunctionCallGetDataRequest
    ) -> AsyncGenerator[api_pb2.DataChunk, None]:
        """Stream what the generator of a call yields."""
        call = self._find(request.function_call_id)
        async for chunk in self._calls.get_stream(call.id).after(request.last_index):
            yield chunk

    def _find(self, call_id: str) -> Call:
        call = self._calls.find(call_id)
        if call is None:
            raise GRPCError(Status.NOT_FOUND, f"FunctionCall {call_id} not found")
        return call
