"""`GET /api/system`: health, queue, days and settings, for operators."""

from collections.abc import Callable
from importlib.metadata import version
from typing import TypedDict

from starlette.requests import Request
from starlette.responses import Response

from infra.database.base import Database
from service.api.health import Readiness, read_readiness
from service.api.openapi.operations import Tag, declare_operation
from service.api.requests import json_response
from service.api.state import Operation, State
from service.clock import Clock
from service.jobs import statistics
from service.keys.scopes import Scope
from service.problems import Forbidden
from service.settings import Settings
from service.startup.findings import Finding, Level


class QueueState(TypedDict):
    """The exports of all users that wait and run; `oldest_seconds` is how long the oldest has waited."""

    pending: int
    processing: int
    oldest_seconds: float | None


class DayTotals(TypedDict):
    """The exports that were submitted on a day (UTC), and their GPU time and its price if it is known."""

    day: str
    exports: int
    failed: int
    gpu_seconds: float
    cost_usd: float | None


class Check(TypedDict):
    """What was checked on this machine alone, how it is (`ok`, `warn` or `fail`), and what to do."""

    check: str
    level: Level
    message: str


class System(TypedDict):
    """The state of the service; a secret setting shows only whether it is set."""

    version: str
    health: Readiness
    checks: list[Check]
    queue: QueueState
    days: list[DayTotals]
    settings: dict[str, str]


class NotOperator(Forbidden):
    title = "Only operators may see the system; OPERATORS names them."
    code = "not_operator"


def create_operation(
    settings: Settings, database: Database, clock: Clock, checks: Callable[[], list[Finding]]
) -> Operation:
    """Return what operators see; without authentication the local user is one."""
    operators = settings.operators if settings.authenticated else None
    days = statistics.DayCache(database, clock)
    return Operation(version("framehook"), operators, settings.in_force(), days, checks)


@declare_operation(
    "get_system", Tag.OPERATION, answers={200: System}, problems=(NotOperator,), scope=Scope.SYSTEM_READ
)
async def get(request: Request[State]) -> Response:
    """Show the state of the service; raises NotOperator."""
    state = request.state
    user_id = await state["authenticator"].user(request)
    operators = state["operation"].operators
    if operators is not None and user_id not in operators:
        raise NotOperator
    async with state["database"].reading() as session:
        queue = await statistics.read_queue(session)
    now, oldest_at = state["clock"].wall(), queue.oldest_at
    return json_response(
        System(
            version=state["operation"].version,
            health=await read_readiness(state),
            checks=[_to_check(finding) for finding in state["operation"].checks()],
            queue={
                "pending": queue.pending,
                "processing": queue.processing,
                "oldest_seconds": None if oldest_at is None else round(max(0.0, now - oldest_at), 1),
            },
            days=[_to_totals(day) for day in await state["operation"].days.load()],
            settings=state["operation"].settings,
        )
    )


def _to_check(finding: Finding) -> Check:
    return {"check": finding.check, "level": finding.level, "message": finding.message}


def _to_totals(day: statistics.Day) -> DayTotals:
    return {
        "day": day.day,
        "exports": day.exports,
        "failed": day.failed,
        "gpu_seconds": day.gpu_seconds,
        "cost_usd": day.cost_usd,
    }
