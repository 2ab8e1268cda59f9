"""Convert what Modal returns and raises to the states of a call and to RunnerRefused."""

import logging

import modal.exception
import msgspec

from callbacks.envelope import Failure, Output, Seconds
from gpu.errors import OUT_OF_TIME
from service.dispatch.runners.base import CallStatus, Failed, Finished, RunnerRefused, Unknown

logger = logging.getLogger("framehook.modal")

UNREACHABLE_ERRORS = (
    modal.exception.ServiceError,
    modal.exception.ConnectionError,
    modal.exception.InternalError,
    modal.exception.InternalFailure,
    modal.exception.ClientClosed,
    OSError,
)

SIGNATURE_MISMATCH = Failed(
    "function_mismatch",
    "The deployed Modal app does not fit this service. Run `framehook modal deploy`.",
    transient=False,
)
_CRASHED = Failed("run_crashed", "The run crashed.", transient=True)
_FAILURES: dict[type[Exception], Failed] = {
    modal.exception.FunctionTimeoutError: Failed(OUT_OF_TIME.code, OUT_OF_TIME.message, transient=False),
    modal.exception.OutputExpiredError: Failed(
        "result_expired", "The run ended, and its result has expired.", transient=True
    ),
    modal.exception.NotFoundError: Failed("call_unknown", "Modal does not know the run.", transient=True),
    modal.exception.RemoteError: _CRASHED,
    modal.exception.ExecutionError: _CRASHED,
    TypeError: SIGNATURE_MISMATCH,
}


class _Value(msgspec.Struct):
    """What the function returns, as far as it says how the run ended."""

    gpu_seconds: Seconds = 0.0
    output: Output | None = None
    failure: Failure | None = None
    code: str = ""


def status_from_value(value: object) -> CallStatus:
    """Convert the return value of a call; a run that was stopped, or returned no result, is lost."""
    try:
        result = msgspec.convert(value, _Value)
    except msgspec.ValidationError:
        return SIGNATURE_MISMATCH
    ending = result.output or result.failure
    if ending is not None:
        return Finished(ending, result.gpu_seconds)
    if result.code == "invalid_call":
        return SIGNATURE_MISMATCH
    return Failed("run_lost", "The run ended without a result.", transient=True)


def status_from_error(error: Exception) -> CallStatus:
    """Convert what a probe raised; an error that does not prove the end of the call leaves it unknown."""
    for kind, failure in _FAILURES.items():
        if isinstance(error, kind):
            return failure
    return unknown_status(error)


def unknown_status(error: Exception) -> Unknown:
    """Log why a call could not be probed."""
    logger.warning("a call could not be probed: %s", type(error).__name__)
    return Unknown()


def refusal_from(error: Exception, app_name: str) -> RunnerRefused:
    """Convert an error of Modal to the refusal that operators read; what only they can mend uses up no attempt."""
    match error:
        case modal.exception.ResourceExhaustedError():
            return wait_without_count("modal_quota", "Modal accepts no more calls now.")
        case error if isinstance(error, UNREACHABLE_ERRORS):  # the builtin TimeoutError is an OSError
            return wait_without_count("modal_unreachable", "Modal can't be reached.", affects_all=True)
        case modal.exception.AuthError() | modal.exception.PermissionDeniedError():
            return wait_without_count(
                "modal_unauthorized",
                "Modal rejects the token, or none is set. Set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET.",
                affects_all=True,
            )
        case modal.exception.NotFoundError():
            return wait_without_count(
                "modal_app_missing",
                f"The Modal app {app_name!r} is not deployed. Run `framehook modal deploy`.",
                affects_all=True,
            )
        case _:
            logger.error("Modal refused: %s", type(error).__name__)
            return RunnerRefused("modal_refused", "Modal refused the request.", transient=True)


def wait_without_count(code: str, message: str, *, affects_all: bool = False) -> RunnerRefused:
    """Return a refusal after which the job waits without losing an attempt."""
    return RunnerRefused(code, message, transient=True, counted=False, affects_all=affects_all)
