"""Ephemeral Dicts, which functions share; kept in memory while a client sends heartbeats."""

import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from infra.modal_local.state import new_id

# The SDK sends a heartbeat for an ephemeral object every 300 s.
RETENTION_SECONDS = 700.0


@dataclass
class DictState:
    """The serialized entries of a Dict, and when it expires on the monotonic clock."""

    entries: dict[bytes, bytes] = field(default_factory=dict)
    expires_at: float = field(default_factory=lambda: time.monotonic() + RETENTION_SECONDS)


class Dicts:
    """The RPCs for Dicts."""

    def __init__(self) -> None:
        self._dicts: dict[str, DictState] = {}

    async def dict_get_or_create(
        self, request: api_pb2.DictGetOrCreateRequest
    ) -> api_pb2.DictGetOrCreateResponse:
        """Create a Dict that is kept while its client sends heartbeats."""
        if request.object_creation_type != api_pb2.OBJECT_CREATION_TYPE_EPHEMERAL:
            raise GRPCError(
                Status.UNIMPLEMENTED, "named Dicts are not implemented by the local control plane"
            )
        for dict_id in [
            dict_id for dict_id, state in self._dicts.items() if state.expires_at < time.monotonic()
        ]:
            del self._dicts[dict_id]
        dict_id = new_id("di")
        self._dicts[dict_id] = DictState()
        return api_pb2.DictGetOrCreateResponse(dict_id=dict_id, metadata=api_pb2.DictMetadata())

    async def dict_get_by_id(self, request: api_pb2.DictGetByIdRequest) -> api_pb2.DictGetByIdResponse:
        """Look up a Dict by its id."""
        self._get(request.dict_id)
        return api_pb2.DictGetByIdResponse(dict_id=request.dict_id, metadata=api_pb2.DictMetadata())

    async def dict_heartbeat(self, request: api_pb2.DictHeartbeatRequest) -> Empty:
        """Extend the retention of a Dict."""
        self._get(request.dict_id).expires_at = time.monotonic() + RETENTION_SECONDS
        return Empty()

    async def dict_get(self, request: api_pb2.DictGetRequest) -> api_pb2.DictGetResponse:
        """Return the value of a key."""
        value = self._get(request.dict_id).entries.get(request.key)
        return api_pb2.DictGetResponse(found=value is not None, value=value)

    async def dict_update(self, request: api_pb2.DictUpdateRequest) -> api_pb2.DictUpdateResponse:
        """Set keys; with `if_not_exists` only new ones."""
        entries, created = self._get(request.dict_id).entries, True
        for update in request.updates:
            created = update.key not in entries
            if created or not request.if_not_exists:
                entries[update.key] = update.value
        return api_pb2.DictUpdateResponse(created=created)

    async def dict_contents(
        self, request: api_pb2.DictContentsRequest
    ) -> AsyncGenerator[api_pb2.DictEntry, None]:
        """Stream all entries."""
        for key, value in list(self._get(request.dict_id).entries.items()):
            yield api_pb2.DictEntry(key=key, value=value)

    def _get(self, dict_id: str) -> DictState:
        if dict_id not in self._dicts:
            raise GRPCError(Status.NOT_FOUND, f"Dict {dict_id} not found")
        return self._dicts[dict_id]
