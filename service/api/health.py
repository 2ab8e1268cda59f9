"""Is the process alive, and can it do its work?"""

import logging
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from service.api.parsing import answer
from service.api.state import State

logger = logging.getLogger("framehook.health")


async def healthz(_request: Request[State]) -> Response:
    """The process answers."""
    return answer({"status": "ok"})


async def readyz(request: Request[State]) -> Response:
    """Database, storage and loops are all there."""
    state = request.state
    checks = {
        "database": await _works(state["database"].check),
        "storage": await _works(state["storage"].check),
        "runner": await _works(state["attempts"].check_runner),
        "loops": not state["supervisor"].down,
    }
    ready = all(checks.values())
    shown = {name: "ok" if fine else "failing" for name, fine in checks.items()}
    return answer(
        {"status": "ok" if ready else "failing", "runs_on": state["runner_name"], **shown},
        200 if ready else 503,
    )


async def _works(check: Callable[[], Awaitable[None]]) -> bool:
    try:
        await check()
    except Exception:
        logger.exception("a readiness check failed")
        return False
    return True
