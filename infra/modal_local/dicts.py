"""Ephemeral Dicts, by which functions that call each other keep in touch; held in memory, as long as somebody beats."""

import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from infra.modal_local.state import new_id

# The SDK says every 300 s that it still needs an ephemeral object.
KEPT_SECONDS = 700.0


@dataclass
class Contents:
    """What stands in a Dict, serialized, and until when it is kept."""

    entries: dict[bytes, bytes] = field(default_factory=dict)
    until: float = field(default_factory=lambda: time.monotonic() + KEPT_SECONDS)


class Dicts:
    """The Dicts' side of the service."""

    def __init__(self) -> None:
        self._dicts: dict[str, Contents] = {}

    async def dict_get_or_create(
        self, request: api_pb2.DictGetOrCreateRequest
    ) -> api_pb2.DictGetOrCreateResponse:
        """Make one that lives as long as its client."""
        if request.object_creation_type != api_pb2.OBJECT_CREATION_TYPE_EPHEMERAL:
            raise GRPCError(
                Status.UNIMPLEMENTED, "named Dicts are not implemented by the local control plane"
            )
        for dict_id in [each for each, held in self._dicts.items() if held.until < time.monotonic()]:
            del self._dicts[dict_id]
        dict_id = new_id("di")
        self._dicts[dict_id] = Contents()
        return api_pb2.DictGetOrCreateResponse(dict_id=dict_id, metadata=api_pb2.DictMetadata())

    async def dict_get_by_id(self, request: api_pb2.DictGetByIdRequest) -> api_pb2.DictGetByIdResponse:
        """Look one up by its id."""
        self._found(request.dict_id)
        return api_pb2.DictGetByIdResponse(dict_id=request.dict_id, metadata=api_pb2.DictMetadata())

    async def dict_heartbeat(self, request: api_pb2.DictHeartbeatRequest) -> Empty:
        """Keep it for longer."""
        self._found(request.dict_id).until = time.monotonic() + KEPT_SECONDS
        return Empty()

    async def dict_get(self, request: api_pb2.DictGetRequest) -> api_pb2.DictGetResponse:
        """Answer with the value of a key."""
        value = self._found(request.dict_id).entries.get(request.key)
        return api_pb2.DictGetResponse(found=value is not None, value=value)

    async def dict_update(self, request: api_pb2.DictUpdateRequest) -> api_pb2.DictUpdateResponse:
        """Set keys, or one that is not there yet."""
        entries, created = self._found(request.dict_id).entries, True
        for update in request.updates:
            created = update.key not in entries
            if created or not request.if_not_exists:
                entries[update.key] = update.value
        return api_pb2.DictUpdateResponse(created=created)

    async def dict_contents(
        self, request: api_pb2.DictContentsRequest
    ) -> AsyncGenerator[api_pb2.DictEntry, None]:
        """Stream all of it."""
        for key, value in list(self._found(request.dict_id).entries.items()):
            yield api_pb2.DictEntry(key=key, value=value)

    def _found(self, dict_id: str) -> Contents:
        if dict_id not in self._dicts:
            raise GRPCError(Status.NOT_FOUND, f"Dict {dict_id} not found")
        return self._dicts[dict_id]
