"""Build the runner with what watches it: whether it can start attempts, and what waits for it."""

from dataclasses import dataclass

from infra.database.base import Database
from service.clock import Clock
from service.dispatch.queue_board import QueueBoard
from service.dispatch.runners import Runner, RunnerReadiness
from service.factories import Loop, create_limits
from service.settings import Settings


@dataclass(frozen=True)
class RunnerParts:
    """The runner, and what is known of it in memory."""

    runner: Runner
    readiness: RunnerReadiness
    board: QueueBoard

    @property
    def loops(self) -> dict[str, Loop]:
        """The loops that keep it up to date, by name."""
        return {"queue": self.board.run, "runner": self.readiness.run}


def create_runner_parts(settings: Settings, database: Database, runner: Runner, clock: Clock) -> RunnerParts:
    """Create what watches the runner."""
    readiness = RunnerReadiness(runner, clock)
    board = QueueBoard(database, runner, readiness, create_limits(settings), clock)
    return RunnerParts(runner, readiness, board)
