"""What every runner is, and what can be known of a call."""

import asyncio
from dataclasses import dataclass
from typing import Protocol

from callbacks.envelope import Failure, Output
from gpu.spec import AttemptSpec


@dataclass(frozen=True)
class Running:
    """The call is known to be at work, or waiting for its turn."""


@dataclass(frozen=True)
class Finished:
    """The call is over, and its value tells how: what its last callback said, or would have said."""

    ending: Output | Failure
    gpu_seconds: float


@dataclass(frozen=True)
class Failed:
    """The call is known to be over without a result; `interrupted`: with the service that had started it."""

    code: str
    message: str
    transient: bool
    interrupted: bool = False


@dataclass(frozen=True)
class Unknown:
    """Nobody can say now; nothing may change because of it."""


CallStatus = Running | Finished | Failed | Unknown


class RunnerRefused(Exception):
    """The runner would not take the attempt.

    `transient` says that a later try may succeed; `counted` whether it uses up one of the job's attempts.
    """

    def __init__(self, code: str, message: str, *, transient: bool, counted: bool = True) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.transient = transient
        self.counted = counted


class Runner(Protocol):
    """Starts attempts elsewhere and holds nothing while they run."""

    name: str
    gpu: str | None  # the GPU that runs get, by the name that its price goes by; None without one
    shares_filesystem: bool  # whether runs can read and write files of this machine
    instance: str  # prefix of the call ids of this process; empty if calls outlive the process
    freed: asyncio.Event  # set when capacity has become free

    def capacity(self) -> int:
        """How many attempts it would take now."""
        ...

    def call_id_for(self, job_id: str, attempt: int) -> str:
        """The call id that an attempt is told to begin with."""
        ...

    async def spawn(self, spec: AttemptSpec) -> str:
        """Start the attempt, return its call id; raises Refused."""
        ...

    async def probe(self, call_id: str) -> CallStatus:
        """What is known of the call."""
        ...

    def drain_ended(self) -> list[str]:
        """The calls that were seen to end since this was last asked."""
        ...

    async def cancel(self, call_id: str) -> None:
        """End the call, if it is still there."""
        ...

    async def check(self) -> None:
        """Raise Refused if attempts could not be started now."""
        ...

    async def close(self) -> None:
        """Let go of everything."""
        ...
