"""The runner protocol and the states of a call."""

import asyncio
from dataclasses import dataclass
from typing import Protocol

from callbacks.envelope import Failure, Output
from gpu.spec import AttemptSpec


@dataclass(frozen=True)
class Running:
    """The call is known to run or to be queued."""


@dataclass(frozen=True)
class Finished:
    """The call has ended with a result: what its last callback said, or would have said."""

    ending: Output | Failure
    gpu_seconds: float


@dataclass(frozen=True)
class Failed:
    """The call is known to have ended without a result; `interrupted` by the end of the service that started it."""

    code: str
    message: str
    transient: bool
    interrupted: bool = False


@dataclass(frozen=True)
class Unknown:
    """The state of the call can't be determined now; nothing may change because of it."""


CallStatus = Running | Finished | Failed | Unknown


class RunnerRefused(Exception):
    """The runner refused to start an attempt, or can't be reached.

    `transient` says that a later try may succeed; `counted` whether it uses up one of the job's attempts. `affects_all`
    says that no other attempt would be started either: all wait until the runner works again.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        transient: bool,
        counted: bool = True,
        affects_all: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.transient = transient
        self.counted = counted
        self.affects_all = affects_all


@dataclass(frozen=True)
class RunnerNotice:
    """What an operator should look at, although attempts can be started."""

    code: str
    message: str


class Runner(Protocol):
    """Starts attempts as processes or calls; keeps no database connection or task per attempt."""

    name: str
    gpu: str | None  # the GPU that runs get, by the name that its price goes by; None without one
    shares_filesystem: bool  # whether runs can read and write files of this machine
    instance: str  # prefix of the call ids of this process; empty if calls outlive the process
    freed: asyncio.Event  # set when capacity has become free
    max_runs: int | None  # how many runs there can be; None if the runner itself queues calls
    busy_reason: str  # what an export waits for while no other run can start, for people

    @property
    def notice(self) -> RunnerNotice | None:
        """Return what the last check has found odd."""
        ...

    def capacity(self) -> int:
        """Return how many attempts could be started now."""
        ...

    def call_id_for(self, job_id: str, attempt: int) -> str:
        """Return the call id that is put into the spec of an attempt, before it is started."""
        ...

    async def spawn(self, spec: AttemptSpec) -> str:
        """Start the attempt and return the id of its call; raises RunnerRefused."""
        ...

    async def probe(self, call_id: str) -> CallStatus:
        """Return the state of the call; never raises."""
        ...

    def drain_ended(self) -> list[str]:
        """Return the ids of the calls that ended since the last call of this method."""
        ...

    async def cancel(self, call_id: str) -> None:
        """Cancel the call if it runs; raises RunnerRefused. A call that is unknown or has ended is ignored."""
        ...

    async def check(self) -> None:
        """Raise Refused if attempts could not be started now."""
        ...

    async def close(self) -> None:
        """Release all resources; local runs end."""
        ...
