"""The invariants that hold once all faults are over."""

import asyncio
import itertools
import time
from collections.abc import Sequence

from service.costs.budgets import BUDGET_EXCEEDED
from tests.faults.checkers.batch_checks import find_open_batches
from tests.faults.checkers.database_reader import FINAL, Row
from tests.faults.checkers.delivery_checks import TimelineRow
from tests.faults.checkers.erasure_checks import find_wrong_expiries
from tests.faults.checkers.stream_checker import object_matches
from tests.faults.checkers.violations import History
from tests.faults.cluster.cluster import Cluster

WITHDRAW_SECONDS = 5.0
LOOK_SECONDS = 0.1
EXPIRY_EDITS = ((0,), (1,), (1, 2))
"""How many changes after the end each step of the expiry takes: one that comes late is not announced before."""


async def check_promises(cluster: Cluster, user_id: str, history: History) -> None:
    """Compare rows, timelines and objects with each other and with what was promised."""
    rows = await cluster.database.fetch_user_rows(user_id)
    promised = {job_id for job_id in history.job_ids if not history.is_erased(job_id)}
    stored = {row.job_id for row in rows}
    history.require(stored == promised, f"accepted jobs: {sorted(promised)}, stored jobs: {sorted(stored)}")
    wrong = [
        *await _compare_objects(cluster, rows),
        *find_open_batches(history, await cluster.database.fetch_batches(user_id)),
        *find_wrong_expiries(rows, cluster.clock.latest()),
        *await cluster.budget_checker.find_wrong_ends(user_id, rows),
    ]
    for sentence in wrong:
        history.add_violation(sentence)
    for row in rows:
        for sentence in check_timeline(
            row, await cluster.database.fetch_timeline(row.job_id), history.retried.get(row.job_id, 0)
        ):
            history.add_violation(f"job {row.job_id[-6:]}: {sentence}")
    for (job_id, attempt), sequences in history.endings.items():
        sentence = f"job {job_id[-6:]} attempt {attempt}: readers saw ends {sorted(sequences)}"
        history.require(len(sequences) == 1, sentence)


async def _compare_objects(cluster: Cluster, rows: Sequence[Row]) -> list[str]:
    """Return where rows and objects disagree, allowing a cancelled output a moment to be deleted."""
    deadline = time.monotonic() + WITHDRAW_SECONDS
    while wrong := [sentence for row in rows if (sentence := _compare_object(cluster, row))]:
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(LOOK_SECONDS)
    return wrong


def _compare_object(cluster: Cluster, row: Row) -> str | None:
    if row.status == "complete" and not row.has_expired:
        holds = object_matches(cluster.objects, row)
        return None if holds else f"job {row.job_id[-6:]} is complete without its object: {row}"
    there = (cluster.objects / row.user_id / row.output_key).exists()
    return f"job {row.job_id[-6:]} is {row.status} and has an object: {row}" if there else None


def find_failed_healthy(rows: Sequence[Row]) -> list[str]:
    """Return exports of a valid source that failed although nothing happened that may fail one."""
    return [
        f"job {row.job_id[-6:]} had nothing wrong with it, and failed: {row}"
        for row in rows
        if row.status == "error"
        and row.error_code != BUDGET_EXCEEDED
        and not row.input_key.endswith("broken.mp4")
    ]


def find_wrong_gpu_seconds(rows: Sequence[Row], seconds: float) -> list[str]:
    """Return rows whose GPU-seconds are impossible `seconds` after submission."""
    wrong = []
    for row in rows:
        if not 0 <= row.gpu_seconds_before <= row.gpu_seconds <= seconds * row.attempt:
            wrong.append(f"job {row.job_id[-6:]} can't have worked for so long in {seconds:.0f} s: {row}")
        if row.status == "complete" and not row.gpu_seconds:
            wrong.append(f"job {row.job_id[-6:]} is complete, and no time is counted: {row}")
    return wrong


def check_timeline(row: Row, moments: Sequence[TimelineRow], retries: int) -> list[str]:
    """Return what is wrong with the timeline of a job that was retried at most `retries` times."""
    wrong = []
    ends = [moment for moment in moments if moment.status in FINAL]
    if len({moment.attempt for moment in ends}) < len(ends):
        wrong.append(f"an attempt ended twice: {ends}")
    if not 1 <= len(ends) <= 1 + retries:
        wrong.append(f"{len(ends)} ends for {retries} retries")
    last = moments[-1]
    if row.final and (last.status, last.sequence) != (row.status, row.transition_sequence):
        wrong.append(f"the timeline ends with {last}, the row says {row}")
    if row.final and row.edits not in EXPIRY_EDITS[row.expiry_step]:
        wrong.append(f"something changed after the end that is no step of the expiry: {row}")
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
