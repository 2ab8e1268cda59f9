"""`python -m tests.faults.planted BUG serve …`: the command line with a bug in it, to show that the suite finds it.

The one place where anything of the service is replaced: in a process of its own, and on purpose. Each bug is the
wrong order or the missing check alone; where the order matters, the disk is a little slow.
"""

import asyncio
import importlib
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from infra.database import Changed, Database
from infra.postgresql import PostgresDatabase
from service import cli
from service.api import streams
from service.models import Job
from service.progress import Applied, Change, Outcome, newest, postgresql, sqlite, statements
from service.relay import Relay
from service.writer import Writer
from tests.faults.proxy import Weather
from tests.faults.schedule import Act, Schedule, Step

SLOW_DISK_SECONDS = 0.03
_FENCE = "AND export_jobs.attempt ="
_later: set[asyncio.Task[Outcome]] = set()


def acknowledge_before_commit() -> None:
    """The answer goes out while the change still waits."""
    committed = Writer.apply

    async def at_leisure(writer: Writer, change: Change) -> Outcome:
        await asyncio.sleep(SLOW_DISK_SECONDS)
        return await committed(writer, change)

    async def apply(writer: Writer, change: Change) -> Outcome:
        task = asyncio.create_task(at_leisure(writer, change))
        _later.add(task)
        task.add_done_callback(_later.discard)
        return Applied(1)

    _put(Writer, "apply", apply)


def ignore_attempt() -> None:
    """A callback changes the row whichever attempt it is of."""
    for name in ("TICK", "ADVANCE", "COMPLETE", "FAIL", "TRY_AGAIN"):
        statement = getattr(statements, name)
        assert _FENCE in statement
        _put(statements, name, re.sub(rf"{_FENCE} \S+", "", statement))
    importlib.reload(postgresql)


def skip_stored_state() -> None:
    """A stream begins with the next change, not with the present state."""

    async def nothing(*_: object) -> list[Job]:
        return []

    _put(streams, "_stored", nothing)


def skip_catch_up() -> None:
    """What was changed elsewhere while the line was down is not read again."""

    async def nothing(_relay: Relay) -> None:
        return

    _put(Relay, "_catch_up", nothing)


def publish_before_commit() -> None:
    """Readers are told first, the disk second."""

    def told(writer: Writer, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            if isinstance(outcome, Applied) and outcome.job is not None:
                writer._publish(outcome.job)

    async def written(writer: Writer, changes: Sequence[Change]) -> list[Outcome]:
        database = writer._database

        def in_file(connection: Any) -> list[Outcome]:
            assert isinstance(database, Database)
            outcomes = sqlite.apply_all(connection, changes)
            told(writer, outcomes)
            database._thread.submit(time.sleep, SLOW_DISK_SECONDS)  # the commit stands in line behind it
            return outcomes

        async def on_server(connection: Any) -> tuple[list[Outcome], list[Changed]]:
            outcomes = await postgresql.apply_all(connection, changes)
            told(writer, outcomes)
            await asyncio.sleep(SLOW_DISK_SECONDS)
            found = newest(changes, outcomes)
            return outcomes, [(job_id, str(one.user_id)) for job_id, one in found.items()]

        if isinstance(database, PostgresDatabase):
            return await database.batch(on_server)
        return await database.batch(in_file)

    _put(Writer, "_written", written)


BUGS: dict[str, Callable[[], None]] = {
    bug.__name__.replace("_", "-"): bug
    for bug in (
        acknowledge_before_commit,
        ignore_attempt,
        skip_stored_state,
        skip_catch_up,
        publish_before_commit,
    )
}
POSTGRESQL_ONLY = ("skip-catch-up",)


def provoked(bug: str, schedule: Schedule) -> Schedule:
    """A schedule with more of what brings a bug out."""
    if bug == "ignore-attempt":
        more = [Step(2.5, Act.CANCEL, index) for index in range(schedule.jobs)]
        more += [Step(2.6, Act.RETRY, index) for index in range(schedule.jobs)]
        weather = Weather(late=50, seconds=1.0)
        return replace(schedule, steps=(*schedule.steps, *more), weather=weather)
    if bug == "skip-catch-up":
        more = [Step(0.4 * number, Act.LINES) for number in range(10)]
        return replace(schedule, steps=(*schedule.steps, *more))
    return schedule


def _put(where: object, name: str, value: object) -> None:
    assert hasattr(where, name)
    setattr(where, name, value)


def main() -> None:
    BUGS[sys.argv.pop(1)]()
    cli.app()


if __name__ == "__main__":
    main()
