"""Attempts on Modal: a call is spawned, its id is kept on the row, and nothing is held while it runs.

Facts of the SDK that shape this (modal 1.6.4): `get(timeout=0)` raises the builtin TimeoutError while a call is
pending; `spawn` takes no idempotency key, and one that times out here has still created the call; an unreachable
server takes most of a minute to say so on a cold connection, hence the bounds.
"""

import asyncio
import logging
from typing import Any

import modal
import modal.exception
import msgspec

from callbacks.envelope import Failure, Output
from gpu.spec import AttemptSpec
from service.runners.base import Failed, Finished, Refused, Running, Standing, Unknown

logger = logging.getLogger("framehook.modal")

FUNCTION = "process_video"
SPAWN_TIMEOUT_SECONDS = 30.0
PROBE_TIMEOUT_SECONDS = 20.0
PLACES = 50
"""How many attempts one round of the dispatcher starts; Modal itself queues up to a million spawned calls."""

_OUT_OF_REACH = (
    modal.exception.ServiceError,
    modal.exception.ConnectionError,
    modal.exception.InternalError,
    modal.exception.InternalFailure,
    modal.exception.ClientClosed,
    OSError,
)


_CRASHED = Failed("run_crashed", "The run crashed.", transient=True)
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
    TypeError: Failed(
        "function_mismatch", "The deployed Modal app does not fit this service.", transient=False
    ),
}


class ModalRunner:
    """Spawns `process_video` of a deployed Modal app."""

    name = "modal"
    instance = ""

    def __init__(self, app_name: str) -> None:
        self._app_name = app_name
        self._function: modal.Function[..., Any, Any] | None = None
        self.freed = asyncio.Event()

    def places(self) -> int:
        return PLACES

    def call_for(self, job_id: str, attempt: int) -> str:
        return f"modal-{job_id}-{attempt}"

    async def spawn(self, spec: AttemptSpec) -> str:
        try:
            async with asyncio.timeout(SPAWN_TIMEOUT_SECONDS):
                return await self._spawned(_arguments(spec))
        except modal.exception.ResourceExhaustedError as error:
            raise _later("modal_quota", "Modal takes no more calls now.") from error
        except _OUT_OF_REACH as error:  # the builtin TimeoutError is an OSError
            raise _later("modal_unreachable", "Modal can't be reached.") from error
        except modal.exception.Error as error:
            raise self._refusal(error) from error

    async def probe(self, call_id: str) -> Standing:
        call: modal.FunctionCall[Any] = modal.FunctionCall.from_id(call_id)
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
                value = await call.get.aio(timeout=0)
        except TimeoutError:
            return Running()
        except Exception as error:  # noqa: BLE001 - what is not known to be an end is no end
            return next((end for kind, end in _ENDS.items() if isinstance(error, kind)), _unknown(error))
        return finished(value)

    def ended(self) -> list[str]:
        """Nothing is held, so nothing is seen: silence tells."""
        return []

    async def cancel(self, call_id: str) -> None:
        call: modal.FunctionCall[Any] = modal.FunctionCall.from_id(call_id)
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
                await call.cancel.aio(terminate_containers=True)
        except (modal.exception.Error, OSError) as error:
            raise Refused(
                "cancel_failed", "Modal could not be told to stop the run.", transient=True
            ) from error

    async def check(self) -> None:
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
                await modal.Function.from_name(self._app_name, FUNCTION).hydrate.aio()
        except _OUT_OF_REACH as error:
            raise _later("modal_unreachable", "Modal can't be reached.") from error
        except modal.exception.Error as error:
            raise self._refusal(error) from error

    async def close(self) -> None:
        """Calls outlive this process; there is nothing to let go of."""

    async def _spawned(self, arguments: dict[str, Any]) -> str:
        if self._function is not None:
            try:
                return (await self._function.spawn.aio(**arguments)).object_id
            except modal.exception.NotFoundError:
                self._function = (
                    None  # the app was made anew, and its functions have new ids: look again, once
                )
        function: modal.Function[..., Any, Any] = modal.Function.from_name(self._app_name, FUNCTION)
        call = await function.spawn.aio(**arguments)
        self._function = function
        return call.object_id

    def _refusal(self, error: modal.exception.Error) -> Refused:
        match error:
            case modal.exception.AuthError() | modal.exception.PermissionDeniedError():
                return Refused(
                    "modal_unauthorized",
                    "Modal refuses the token; MODAL_TOKEN_ID and MODAL_TOKEN_SECRET need to be set anew.",
                    transient=False,
                )
            case modal.exception.NotFoundError():
                return Refused(
                    "modal_app_missing",
                    f"The Modal app {self._app_name!r} is not deployed; run `framehook modal deploy`.",
                    transient=False,
                )
            case _:
                logger.error("a call could not be spawned: %s", type(error).__name__)
                return Refused("modal_refused", "Modal would not start the run.", transient=True)


class _Value(msgspec.Struct):
    """What the function returns, of which only the ending matters here."""

    gpu_seconds: float = 0.0
    output: Output | None = None
    failure: Failure | None = None


def finished(value: object) -> Standing:
    """What a call's value tells; a run that was told to stop, or tells nothing, is lost."""
    try:
        told = msgspec.convert(value, _Value)
    except msgspec.ValidationError:
        return Failed(
            "function_mismatch", "The deployed Modal app does not fit this service.", transient=False
        )
    ending = told.output or told.failure
    if ending is None:
        return Failed("run_lost", "The run ended without a result.", transient=True)
    return Finished(ending, told.gpu_seconds)


def _unknown(error: Exception) -> Unknown:
    logger.warning("a call could not be asked after: %s", type(error).__name__)
    return Unknown()


def _later(code: str, message: str) -> Refused:
    """Nobody's failure: the job waits, and loses none of its attempts."""
    return Refused(code, message, transient=True, counted=False)


def _arguments(spec: AttemptSpec) -> dict[str, Any]:
    """The call's arguments: references only, to stay under the 8 KiB above which Modal stores them elsewhere."""
    callback = spec.callback
    assert callback is not None
    return {
        "job_id": spec.job_id,
        "user_id": "",
        "job_type": spec.type.value,
        "input_key": spec.config.input_key,
        "output_key": spec.config.output_key or "",
        "params": spec.config.model_dump(mode="json", by_alias=True, exclude_unset=True),
        "callback": callback.model_dump()
        | {"attempt": spec.attempt, "deadline_seconds": spec.deadline_seconds},
        "transfer": spec.transfer.model_dump(mode="json"),
    }
