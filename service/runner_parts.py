"""Build the runner with what watches it: whether it can start attempts, and what waits for it."""

from dataclasses import dataclass

from infra.database.base import Database
from service.clock import Clock
from service.dispatch.queue_board import QueueBoard
from service.dispatch.queue_updates import QueueUpdates
from service.dispatch.runners import Runner, RunnerReadiness
from service.factories import Loop, create_limits
from service.fanout.hub import Hub
from service.forecast.forecaster import Forecaster
from service.forecast.work import name_runner
from service.jobs.legacy_serializer import LegacySerializer
from service.jobs.queue.observed_waits import ObservedWaits
from service.jobs.serializers import JobSerializer
from service.settings import Settings


@dataclass(frozen=True)
class RunnerParts:
    """The runner, and what is known of it in memory."""

    runner: Runner
    readiness: RunnerReadiness
    board: QueueBoard
    forecaster: Forecaster

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
    return RunnerParts(runner, readiness, board, forecaster)


def create_client_serializer(settings: Settings, parts: RunnerParts) -> JobSerializer:
    """Return what shows jobs to clients; webhooks have a shape of their own that never changes."""
    serializer = LegacySerializer if settings.legacy_frontend else JobSerializer
    return serializer(settings.origin, parts.board.describe, parts.forecaster.predict_wait)
