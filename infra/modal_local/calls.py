"""Open calls in memory, in the order in which they run; ended calls are on disk only."""

import asyncio
import time
from collections import OrderedDict, defaultdict
from collections.abc import AsyncGenerator, Iterable

from modal_proto import api_pb2

from infra.modal_local.state import Call, Store, new_id

STREAM_RETENTION_SECONDS = 60.0


class OpenCall:
    """A call that has not ended: it waits, runs, or its output was lost."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.ended = asyncio.Event()
        self.lost = False
        self.cancelled = False


class Stream:
    """The chunks that a generator has yielded.

    A repeated run yields the same indices again; each is kept once.
    """

    def __init__(self) -> None:
        self._chunks: list[api_pb2.DataChunk] = []
        self._changed = asyncio.Event()
        self._closed = False

    def extend(self, chunks: Iterable[api_pb2.DataChunk]) -> None:
        """Append the chunks with an index above the last one."""
        for chunk in chunks:
            if not self._chunks or chunk.index > self._chunks[-1].index:
                self._chunks.append(chunk)
        self._wake()

    def close(self) -> None:
        """Mark the stream as complete."""
        self._closed = True
        self._wake()

    async def after(self, index: int) -> AsyncGenerator[api_pb2.DataChunk, None]:
        """Yield the present and future chunks after an index until the stream is closed."""
        position = 0
        while True:
            changed = self._changed
            for chunk in self._chunks[position:]:
                if chunk.index > index:
                    yield chunk
                position += 1
            if self._closed and position == len(self._chunks):
                return
            if position == len(self._chunks):
                await changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class Calls:
    """All calls; `waiting` maps the id of a function to its calls without a container, by id."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open: dict[str, OpenCall] = {}
        self._streams: defaultdict[str, Stream] = defaultdict(Stream)
        self.waiting: defaultdict[str, OrderedDict[str, OpenCall]] = defaultdict(OrderedDict)
        for call in store.open_calls():
            self._enqueue(OpenCall(call))

    def submit(self, function_id: str, request: api_pb2.FunctionInput, invocation: int) -> Call:
        """Store a new call at the end of its function's queue."""
        call = Call(
            id=new_id("fc"),
            input_id=new_id("in"),
            function_id=function_id,
            invocation=invocation,
            input=request.SerializeToString(),
            created_at=time.time(),
        )
        self._store.put_call(call)
        self._enqueue(OpenCall(call))
        return call

    def requeue(self, open_call: OpenCall) -> None:
        """Put a call whose run failed at the front of the queue."""
        if not open_call.ended.is_set() and not open_call.lost:
            self._store.put_call(open_call.call)
            self._enqueue(open_call)
            self.waiting[open_call.call.function_id].move_to_end(open_call.call.id, last=False)

    def end(self, open_call: OpenCall, output: api_pb2.FunctionGetOutputsItem) -> None:
        """Store the output of a call; later outputs are ignored."""
        if open_call.ended.is_set():
            return
        call = open_call.call
        call.output, call.finished_at = output.SerializeToString(), time.time()
        call.input = b""
        self._store.put_call(call)
        self._open.pop(call.id, None)
        self.waiting[call.function_id].pop(call.id, None)
        open_call.ended.set()
        if call.id in self._streams:
            self._streams[call.id].close()
            asyncio.get_running_loop().call_later(STREAM_RETENTION_SECONDS, self._streams.pop, call.id, None)

    def find_open(self, call_id: str) -> OpenCall | None:
        """Return a call that has not ended, or None."""
        return self._open.get(call_id)

    def find(self, call_id: str) -> Call | None:
        """Return a call in any state, or None if it is unknown or was deleted."""
        open_call = self._open.get(call_id)
        return open_call.call if open_call else self._store.load_call(call_id)

    def get_stream(self, call_id: str) -> Stream:
        """Return the stream of a generator's call."""
        stream = self._streams[call_id]
        if call_id not in self._open:
            stream.close()
        return stream

    def expire(self, call_id: str) -> None:
        """Drop the output of an ended call, as happens to every output after the retention."""
        if (call := self._store.load_call(call_id)) and call.finished_at:
            call.output = b""
            self._store.put_call(call)

    def _enqueue(self, open_call: OpenCall) -> None:
        self._open[open_call.call.id] = open_call
        self.waiting[open_call.call.function_id][open_call.call.id] = open_call


def failure_output(
    status: "api_pb2.GenericResult.GenericStatus.ValueType", message: str
) -> api_pb2.FunctionGetOutputsItem:
    """Return the output of a call that was ended by the control plane."""
    return api_pb2.FunctionGetOutputsItem(result=api_pb2.GenericResult(status=status, exception=message))
