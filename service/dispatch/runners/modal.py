"""Attempts on Modal: a call is spawned, its id is kept on the row, and nothing is held while it runs.

Facts of the SDK that shape this (modal 1.6.4): `get(timeout=0)` raises the builtin TimeoutError while a call is
pending; `spawn` takes no idempotency key, and one that times out here has still created the call; an unreachable
server takes most of a minute to say so on a cold connection, hence the bounds.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import modal
import modal.exception
import msgspec
from modal.config import config as sdk_config

from callbacks.envelope import Failure, Output, Seconds
from gpu.spec import AttemptSpec
from service.dispatch.runners.base import CallStatus, Failed, Finished, RunnerRefused, Running, Unknown

logger = logging.getLogger("framehook.modal")

# A call's value comes back in the form that its arguments went out in. As pickles, exceptions of a run would be raised
# here as what they are: a TimeoutError would look like a call that goes on, a SystemExit would end the service.
os.environ.setdefault("MODAL_PAYLOAD_FORMAT", "cbor")

FUNCTION = "process_video"
PLACES = 16
"""How many attempts may be on their way to Modal at a time; Modal itself queues up to a million calls."""

_OUT_OF_REACH = (
    modal.exception.ServiceError,
    modal.exception.ConnectionError,
    modal.exception.InternalError,
    modal.exception.InternalFailure,
    modal.exception.ClientClosed,
    OSError,
)

_CRASHED = Failed("run_crashed", "The run crashed.", transient=True)
_MISMATCH = "The deployed Modal app does not fit this service; run `framehook modal deploy`."
_MISFIT = Failed("function_mismatch", _MISMATCH, transient=False)
_ENDS: dict[type[Exception], Failed] = {
    modal.exception.FunctionTimeoutError: Failed(
        "deadline_exceeded", "The export took longer than it may.", transient=False
    ),
    modal.exception.OutputExpiredError: Failed(
        "result_expired", "The run ended, and its result was not kept.", transient=True
    ),
    modal.exception.NotFoundError: Failed("call_unknown", "Modal does not know the run.", transient=True),
    modal.exception.RemoteError: _CRASHED,
    modal.exception.ExecutionError: _CRASHED,
    TypeError: _MISFIT,
}


class ModalRunner:
    """Spawns `process_video` of a deployed Modal app."""

    name = "modal"
    shares_filesystem = False
    instance = ""

    def __init__(
        self,
        app_name: str,
        token: tuple[str, str] | None = None,
        *,
        gpu: str | None = None,
        max_retry_seconds: float = 30.0,
        spawn_seconds: float = 20.0,
        ask_seconds: float = 5.0,
    ) -> None:
        """`token` is its id and secret, if not those that the SDK finds by itself.

        `max_retry_seconds`: how long a run tries to deliver a report that its return value repeats. `spawn_seconds`
        has to stay well under the lease of a job that is about to be started.
        """
        self._app_name = app_name
        self._token = token
        self.gpu = gpu
        self._max_retry_seconds = max_retry_seconds
        self._spawn_seconds = spawn_seconds
        self._ask_seconds = ask_seconds
        self._client: modal.Client | None = None
        self._opening = asyncio.Lock()
        self._function: modal.Function[..., Any, Any] | None = None
        self.freed = asyncio.Event()

    def capacity(self) -> int:
        return PLACES

    def call_id_for(self, job_id: str, attempt: int) -> str:
        return f"modal-{job_id}-{attempt}"

    async def spawn(self, spec: AttemptSpec) -> str:
        arguments = _arguments(spec, self._max_retry_seconds)
        async with self._refusing(self._spawn_seconds):
            if self._function is not None:
                try:
                    return (await self._function.spawn.aio(**arguments)).object_id
                except modal.exception.NotFoundError:
                    self._function = None  # the app was made anew: its functions have new ids
            function = await self._looked_up()
            call = await function.spawn.aio(**arguments)
        self._function = function
        return call.object_id

    async def probe(self, call_id: str) -> CallStatus:
        try:
            async with asyncio.timeout(self._ask_seconds) as limit:
                value = await (await self._call(call_id)).get.aio(timeout=0)
        except TimeoutError as error:
            return _unknown(error) if limit.expired() else Running()
        except Exception as error:  # noqa: BLE001 - what is not known to be an end is no end
            return next((end for kind, end in _ENDS.items() if isinstance(error, kind)), _unknown(error))
        return finished(value)

    def drain_ended(self) -> list[str]:
        """Nothing is held, so nothing is seen: silence tells."""
        return []

    async def cancel(self, call_id: str) -> None:
        async with self._refusing(self._ask_seconds):
            await (await self._call(call_id)).cancel.aio(terminate_containers=True)

    async def check(self) -> None:
        async with self._refusing(self._ask_seconds):
            await self._looked_up()

    async def close(self) -> None:
        """Calls outlive this process; only the connection is let go."""
        if self._client is not None and self._token is not None:
            await self._client.close.aio()

    async def _looked_up(self) -> "modal.Function[..., Any, Any]":
        """The function as it is deployed now; raises Refused if it takes other arguments than these."""
        client = await self._connected()
        function: modal.Function[..., Any, Any] = modal.Function.from_name(
            self._app_name, FUNCTION, client=client
        )
        await function.hydrate.aio()
        # Not in the SDK's public part, but its version is pinned; else only a run would tell, as a crash.
        schema = await function._get_schema.aio()  # noqa: SLF001
        if not {argument.name for argument in schema.arguments} >= _ARGUMENTS:
            self._function = None
            raise RunnerRefused(_MISFIT.code, _MISFIT.message, transient=False)
        return function

    async def _call(self, call_id: str) -> "modal.FunctionCall[Any]":
        return modal.FunctionCall.from_id(call_id, client=await self._connected())

    async def _connected(self) -> modal.Client:
        async with self._opening:
            if self._client is None:
                self._client = await (
                    modal.Client.from_credentials.aio(*self._token)
                    if self._token
                    else modal.Client.from_env.aio()
                )
            return self._client

    @asynccontextmanager
    async def _refusing(self, seconds: float) -> AsyncIterator[None]:
        """Bound what is asked of Modal, and raise Refused for whatever it says against it."""
        try:
            async with asyncio.timeout(seconds):
                yield
        except modal.exception.ResourceExhaustedError as error:
            raise _later("modal_quota", "Modal takes no more calls now.") from error
        except _OUT_OF_REACH as error:  # the builtin TimeoutError is an OSError
            raise _later("modal_unreachable", "Modal can't be reached.") from error
        except modal.exception.Error as error:
            raise self._refusal(error) from error

    def _refusal(self, error: modal.exception.Error) -> RunnerRefused:
        match error:
            case modal.exception.AuthError() | modal.exception.PermissionDeniedError():
                return RunnerRefused(
                    "modal_unauthorized",
                    "Modal refuses the token, or there is none; set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET anew.",
                    transient=False,
                )
            case modal.exception.NotFoundError():
                return RunnerRefused(
                    "modal_app_missing",
                    f"The Modal app {self._app_name!r} is not deployed; run `framehook modal deploy`.",
                    transient=False,
                )
            case _:
                logger.error("Modal refused: %s", type(error).__name__)
                return RunnerRefused("modal_refused", "Modal would not do what it was asked.", transient=True)


def has_token() -> bool:
    """Whether the SDK finds a token by itself, in the environment or in its own file."""
    return bool(sdk_config["token_id"] and sdk_config["token_secret"])


class _Value(msgspec.Struct):
    """What the function returns, of which only the ending matters here."""

    gpu_seconds: Seconds = 0.0
    output: Output | None = None
    failure: Failure | None = None
    code: str = ""


def finished(value: object) -> CallStatus:
    """What a call's value tells; a run that was told to stop, or tells nothing, is lost."""
    try:
        told = msgspec.convert(value, _Value)
    except msgspec.ValidationError:
        return _MISFIT
    ending = told.output or told.failure
    if ending is not None:
        return Finished(ending, told.gpu_seconds)
    if told.code == "invalid_call":
        return _MISFIT
    return Failed("run_lost", "The run ended without a result.", transient=True)


def _unknown(error: Exception) -> Unknown:
    logger.warning("a call could not be asked after: %s", type(error).__name__)
    return Unknown()


def _later(code: str, message: str) -> RunnerRefused:
    """Nobody's failure: the job waits, and loses none of its attempts."""
    return RunnerRefused(code, message, transient=True, counted=False)


_ARGUMENTS = frozenset(
    ("job_id", "user_id", "job_type", "input_key", "output_key", "params", "callback", "transfer")
)


def _arguments(spec: AttemptSpec, max_retry_seconds: float) -> dict[str, Any]:
    """The call's arguments: references only, to stay under the 8 KiB above which Modal stores them elsewhere."""
    target = spec.callback
    assert target is not None
    return {
        "job_id": spec.job_id,
        "user_id": "",
        "job_type": spec.type,
        "input_key": spec.config.input_key,
        "output_key": spec.config.output_key or "",
        "params": spec.config.model_dump(mode="json", by_alias=True, exclude_unset=True),
        "callback": target.model_dump()
        | {
            "attempt": spec.attempt,
            "deadline_seconds": spec.deadline_seconds,
            "patience_seconds": max_retry_seconds,
        },
        "transfer": spec.transfer.model_dump(mode="json"),
    }
