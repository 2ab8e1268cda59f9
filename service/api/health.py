"""`/healthz`: is the process alive? `/readyz`: can it do its work?"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from service.api.requests import json_response
from service.api.state import State

logger = logging.getLogger("framehook.health")

CHECK_SECONDS = 5.0


async def healthz(request: Request[State]) -> Response:
    """Respond 503 if a loop or the database has been down for too long.

    An orchestrator then restarts the process.
    """
    dead = request.state["liveness"].dead_seconds()
    if not dead:
        return json_response({"status": "ok"})
    rounded = {name: round(seconds) for name, seconds in dead.items()}
    return json_response({"status": "failing", "dead_seconds": rounded}, 503)


async def readyz(request: Request[State]) -> Response:
    """Respond 503 unless database, storage, runner and loops work.

    `runner_error` says what the runner lacks.
    """
    state = request.state
    problem = await state["runner_readiness"].problem()
    checks = {
        "database": await _passes(state["database"].check),
        "storage": await _passes(state["storage"].check),
        "runner": problem is None,
        "loops": not state["supervisor"].down,
    }
    ready = all(checks.values())
    shown: dict[str, object] = {name: "ok" if fine else "failing" for name, fine in checks.items()}
    if problem is not None:
        shown["runner_error"] = {"code": problem.code, "message": problem.message}
    return json_response(
        {"status": "ok" if ready else "failing", "runs_on": state["runner_name"], **shown},
        200 if ready else 503,
    )


async def _passes(check: Callable[[], Awaitable[None]]) -> bool:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await check()
    except Exception:
        logger.exception("a readiness check failed")
        return False
    return True
