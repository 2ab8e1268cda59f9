"""`/healthz`: is the process alive? `/readyz`: can it do its work?"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Container
from typing import Annotated, Literal, NotRequired, TypedDict

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from infra.storage import StorageError
from service.api.openapi.operations import Credential, Tag, declare_operation
from service.api.requests import StrictModel, json_response, parse_query
from service.api.state import State

logger = logging.getLogger("framehook.health")

CHECK_SECONDS = 5.0


Result = Literal["ok", "failing"]
Part = Literal["database", "storage", "runner", "loops"]


class Health(TypedDict):
    """Whether the process is alive; `dead_seconds` says for how long loops or the database have been down."""

    status: Result
    dead_seconds: NotRequired[dict[str, int]]


class RunnerError(TypedDict):
    """What the runner lacks, or what is odd about it although it works."""

    code: str
    message: str


class Readiness(TypedDict):
    """Whether the service can do its work, part by part."""

    status: Result
    runs_on: str
    database: NotRequired[Result]
    storage: NotRequired[Result]
    runner: NotRequired[Result]
    loops: NotRequired[Result]
    runner_error: NotRequired[RunnerError]
    runner_warning: NotRequired[RunnerError]


@declare_operation(
    "check_liveness", Tag.OPERATION, credential=Credential.ANYONE, answers={200: Health, 503: Health}
)
async def healthz(request: Request[State]) -> Response:
    """Respond 503 if a loop or the database has been down for too long.

    An orchestrator then restarts the process.
    """
    dead = request.state["liveness"].dead_seconds()
    if not dead:
        return json_response(Health(status="ok"))
    rounded = {name: round(seconds) for name, seconds in dead.items()}
    return json_response(Health(status="failing", dead_seconds=rounded), 503)


class ReadinessQuery(StrictModel):
    """`?exclude=`: parts that are not checked, repeatable."""

    exclude: Annotated[tuple[Part, ...], Field(max_length=4)] = ()


@declare_operation(
    "check_readiness",
    Tag.OPERATION,
    credential=Credential.ANYONE,
    query=ReadinessQuery,
    answers={200: Readiness, 503: Readiness},
)
async def readyz(request: Request[State]) -> Response:
    """Respond 503 unless database, storage, runner and loops work.

    `runner_error` says what the runner lacks, `runner_warning` what an operator should look at although it works. Parts
    named by `exclude` are neither checked nor in the answer: a load balancer that asks about what all replicas share
    would send requests to none of them.
    """
    readiness = await read_readiness(request.state, parse_query(request, ReadinessQuery).exclude)
    return json_response(readiness, 200 if readiness["status"] == "ok" else 503)


async def read_readiness(state: State, exclude: Container[Part] = ()) -> Readiness:
    """Check every part that is not excluded."""
    readiness = Readiness(status="ok", runs_on=state["runner_name"])
    if "database" not in exclude:
        readiness["database"] = await _run_check("database", state["database"].check)
    if "storage" not in exclude:
        readiness["storage"] = await _run_check("storage", state["storage"].check)
    problem = None if "runner" in exclude else await state["runner_readiness"].problem()
    if "runner" not in exclude:
        readiness["runner"] = "ok" if problem is None else "failing"
    if "loops" not in exclude:
        readiness["loops"] = "failing" if state["supervisor"].down else "ok"
    if "failing" in readiness.values():
        readiness["status"] = "failing"
    if problem is not None:
        readiness["runner_error"] = {"code": problem.code, "message": problem.message}
    elif "runner" not in exclude and (notice := state["runner_readiness"].notice) is not None:
        readiness["runner_warning"] = {"code": notice.code, "message": notice.message}
    return readiness


async def _run_check(part: str, check: Callable[[], Awaitable[None]]) -> Result:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await check()
    except (StorageError, OSError) as error:
        reason = str(error) or type(error).__name__
        logger.error("the check of the %s for /readyz failed: %s", part, reason, extra={"cause": error})  # noqa: TRY400 - it comes with every probe
        return "failing"
    except Exception:
        logger.exception("the check of the %s for /readyz failed", part)
        return "failing"
    return "ok"
