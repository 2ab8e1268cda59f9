"""Build the runner with what watches it: whether it can start attempts, what waits for it, what it may cost."""

from dataclasses import dataclass

from infra.database.base import Database
from service.clock import Clock
from service.composition.factories import Loop, create_limits
from service.costs.budgets import DayLimits
from service.costs.control import Budgets
from service.costs.prices import find_price
from service.dispatch.queue_board import QueueBoard
from service.dispatch.queue_updates import QueueUpdates
from service.dispatch.runners import Runner, RunnerReadiness
from service.fanout.hub import Hub
from service.forecast.forecaster import Forecaster
from service.forecast.work import name_runner
from service.jobs.legacy_serializer import LegacySerializer
from service.jobs.queue.observed_waits import ObservedWaits
from service.jobs.serializers import JobSerializer
from service.settings import BadSettings, Settings


@dataclass(frozen=True)
class RunnerParts:
    """The runner, and what is known of it in memory."""

    runner: Runner
    readiness: RunnerReadiness
    board: QueueBoard
    forecaster: Forecaster
    budgets: Budgets

    def list_loops(self, database: Database, hub: Hub, serializer: JobSerializer) -> dict[str, Loop]:
        """Return the loops that keep this up to date, and those who watch exports, by name."""
        updates = QueueUpdates(database, self.board, hub, serializer)
        return {"queue": updates.run, "runner": self.readiness.run, "rates": self.forecaster.run}


def create_runner_parts(settings: Settings, database: Database, runner: Runner, clock: Clock) -> RunnerParts:
    """Create what watches the runner."""
    readiness = RunnerReadiness(runner, clock)
    forecaster = Forecaster(database, clock, name_runner(runner.name, runner.gpu))
    waits = ObservedWaits(forecaster.record_wait)
    board = QueueBoard(database, runner, readiness, create_limits(settings), clock, waits)
    budgets = _create_budgets(settings, database, runner, clock)
    return RunnerParts(runner, readiness, board, forecaster, budgets)


def create_client_serializer(settings: Settings, parts: RunnerParts) -> JobSerializer:
    """Return what shows jobs to clients; webhooks have a shape of their own that never changes."""
    serializer = LegacySerializer if settings.legacy_frontend else JobSerializer
    return serializer(settings.origin, parts.board.describe, parts.forecaster.predict_wait)


def find_day_limits(settings: Settings) -> DayLimits:
    """Return what exports may cost in a day."""
    return DayLimits(settings.max_cost_per_user_day_usd or None, settings.max_cost_per_day_usd or None)


def find_runner_price(settings: Settings, runner: Runner) -> float | None:
    """Return the price of a second of the runner's GPU, None if it is unknown.

    Raises BadSettings if that keeps a budget from being kept.
    """
    price = find_price(runner.gpu, settings.gpu_usd_per_second)
    if price is None and find_day_limits(settings).exist:
        raise BadSettings(
            f"MODAL_GPU: the price of {runner.gpu!r} is unknown, so a budget can't be kept; set GPU_USD_PER_SECOND"
        )
    return price


def _create_budgets(settings: Settings, database: Database, runner: Runner, clock: Clock) -> Budgets:
    """Create what holds exports to their limits; raises BadSettings for a limit that can't be kept."""
    price = find_runner_price(settings, runner)
    return Budgets(database, find_day_limits(settings), usd_per_second=price, clock=clock)
