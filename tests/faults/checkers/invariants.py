"""What must hold when everything has calmed down, whatever has happened."""

import asyncio
import itertools
import time
from collections.abc import Sequence

from tests.faults.checkers.database_reader import FINAL, Row
from tests.faults.checkers.delivery_checks import Moment
from tests.faults.checkers.stream_checker import whole
from tests.faults.checkers.violations import Record
from tests.faults.cluster.cluster import World

WITHDRAW_SECONDS = 5.0
LOOK_SECONDS = 0.1


def ended(row: Row) -> bool:
    """Whether the job is over."""
    return row.final


async def ends_well(world: World, user_id: str, record: Record) -> None:
    """Hold rows, timelines and objects against each other, and against what was promised."""
    rows = await world.ledger.of_user(user_id)
    promised = set(record.accepted.values())
    found = {row.job_id for row in rows}
    record.require(found == promised, f"accepted were {sorted(promised)}, there are {sorted(found)}")
    for sentence in await _objects(world, rows):
        record.broken(sentence)
    for row in rows:
        for sentence in history(
            row, await world.ledger.timeline(row.job_id), record.retried.get(row.job_id, 0)
        ):
            record.broken(f"job {row.job_id[-6:]}: {sentence}")
    for (job_id, attempt), sequences in record.endings.items():
        told = f"job {job_id[-6:]} attempt {attempt}: readers were told of ends {sorted(sequences)}"
        record.require(len(sequences) == 1, told)


async def _objects(world: World, rows: Sequence[Row]) -> list[str]:
    """Where a row and its object disagree; one that a cancel has overtaken may take a moment to be withdrawn."""
    deadline = time.monotonic() + WITHDRAW_SECONDS
    while wrong := [sentence for row in rows if (sentence := _object(world, row))]:
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(LOOK_SECONDS)
    return wrong


def _object(world: World, row: Row) -> str | None:
    if row.status == "complete":
        holds = whole(world.objects, row)
        return None if holds else f"job {row.job_id[-6:]} is complete without its object: {row}"
    there = (world.objects / row.user_id / row.output_key).exists()
    return f"job {row.job_id[-6:]} is {row.status} and has an object: {row}" if there else None


def failed_healthy(rows: Sequence[Row]) -> list[str]:
    """Exports of a sound source that failed, where nothing has happened that may end one."""
    return [
        f"job {row.job_id[-6:]} had nothing wrong with it, and failed: {row}"
        for row in rows
        if row.status == "error" and not row.input_key.endswith("broken.mp4")
    ]


def wrong_accounts(rows: Sequence[Row], seconds: float) -> list[str]:
    """Rows whose time of work can't be, for exports that were asked for at most so many seconds ago."""
    wrong = []
    for row in rows:
        if not 0 <= row.gpu_seconds_before <= row.gpu_seconds <= seconds * row.attempt:
            wrong.append(f"job {row.job_id[-6:]} can't have worked for so long in {seconds:.0f} s: {row}")
        if row.status == "complete" and not row.gpu_seconds:
            wrong.append(f"job {row.job_id[-6:]} is complete, and no time is counted: {row}")
    return wrong


def history(row: Row, moments: Sequence[Moment], retries: int) -> list[str]:
    """What is wrong with a timeline, for a job that a user has retried at most this often."""
    wrong = []
    ends = [moment for moment in moments if moment.status in FINAL]
    if len({moment.attempt for moment in ends}) < len(ends):
        wrong.append(f"an attempt ended twice: {ends}")
    if not 1 <= len(ends) <= 1 + retries:
        wrong.append(f"{len(ends)} ends for {retries} retries")
    last = moments[-1]
    if (last.status, last.sequence) != (row.status, row.sequence) and row.final:
        wrong.append(f"the timeline ends with {last}, the row says {row}")
    for before, after in itertools.pairwise(moments):
        if after.attempt < before.attempt or after.sequence <= before.sequence:
            wrong.append(f"{before} was followed by {after}")
        if after.attempt == before.attempt and after.progress < before.progress:
            wrong.append(f"progress fell from {before} to {after}")
        if after.attempt > before.attempt + 1:
            wrong.append(f"an attempt between {before} and {after} left no trace")
        if before.status in FINAL and after.attempt == before.attempt:
            wrong.append(f"the end {before} was followed by {after}")
    return wrong
