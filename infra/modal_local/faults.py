"""The faults that make the control plane fail as Modal might."""

from grpclib import GRPCError, Status
from msgspec import Struct


class Faults(Struct, kw_only=True, forbid_unknown_fields=True):
    """The current faults; a status is a gRPC name such as RESOURCE_EXHAUSTED."""

    refuse_spawns: str | None = None
    refuse_polls: str | None = None
    token_revoked: bool = False
    spawn_delay_seconds: float = 0.0
    spawn_answer_delay_seconds: float = 0.0
    start_delay_seconds: float = 0.0
    hold_calls: bool = False
    lose_outputs: bool = False

    def __post_init__(self) -> None:
        for name in (self.refuse_spawns, self.refuse_polls):
            if name is not None and name not in Status.__members__:
                raise ValueError(f"{name!r} is not a gRPC status; use a name such as UNAVAILABLE")


def refuse(name: str | None, what: str) -> None:
    """Raise the gRPC error with this name, unless it is None."""
    if name is not None:
        raise GRPCError(Status[name], f"{what} was refused: the faults of the local control plane say so")
