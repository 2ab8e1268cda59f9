"""Mutations of purges, expiry, batches and budgets."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from service.costs import control
from service.costs.budgets import DayAccount
from service.exports import delivery_erasure
from service.exports.erasure import Eraser
from service.exports.expiry import NOTICE_SECONDS, Expiry
from service.fanout import changes
from service.fanout.changes import JobChanges
from service.jobs import erasures
from service.jobs.batches import completion
from service.jobs.erasures import Erasure
from service.jobs.models import EXPIRED
from tests.faults.schedule import Action, Step

SLOW_SECONDS = 0.05
_COMPLETED = "AND completed_at IS NULL"


def complete_batch_again() -> None:
    """Complete a batch whenever its last active export ends, also after a retry."""
    for name in ("_LOCK", "_COMPLETE"):
        statement = getattr(completion, name)
        assert _COMPLETED in statement
        _replace(completion, name, statement.replace(_COMPLETED, ""))


def forget_ends_in_batch() -> None:
    """Do not look whether a batch has ended when an active export of it is erased."""
    _replace(erasures, "note_purged", lambda *_: None)


def ignore_limit_of_export() -> None:
    """Let an export go on when it has cost as much as it may."""
    _replace(control, "find_own_limit", lambda *_: None)


def ignore_budget_of_day() -> None:
    """Let exports of a user run whose budget of the day is used up."""
    _replace(DayAccount, "find_reached", lambda *_, **__: None)
    _replace(DayAccount, "list_reached", lambda *_, **__: [])


def keep_files_of_erased() -> None:
    """Erase an export and leave its files."""

    async def delete_nothing(*_: object) -> bool:
        return True

    _replace(Eraser, "_delete_files", delete_nothing)


def keep_deliveries_of_erased() -> None:
    """Erase an export and leave the bodies of its deliveries, which are still sent."""

    async def blank_nothing(*_: object, **__: object) -> None:
        return

    _replace(delivery_erasure, "blank_deliveries", blank_nothing)


def erase_silently() -> None:
    """Tell no consumer that an export was erased."""

    async def write_nothing(*_: object, **__: object) -> int:
        return 0

    _replace(delivery_erasure, "write_erased", write_nothing)


def keep_erasure_from_streams() -> None:
    """Tell no stream that an export was erased."""
    _replace(changes, "publish_erased", lambda *_: None)


def publish_after_erasure() -> None:
    """Send the last state of an export to its readers shortly after they have learned that it is erased."""
    publish_original = JobChanges.publish_erased

    def publish_late(job_changes: JobChanges, erasure: Erasure) -> None:
        newest = job_changes._hub._newest.get(erasure.job_id)
        publish_original(job_changes, erasure)
        if newest is not None:
            late = replace(newest, sequence=erasure.sequence + 1)
            asyncio.get_running_loop().call_later(SLOW_SECONDS, job_changes._hub.publish, late)

    _replace(JobChanges, "publish_erased", publish_late)


def expire_at_notice() -> None:
    """Delete an output when its end should be announced."""
    list_original = Expiry._list_due

    async def list_early(self: Expiry, step: int, before: float) -> Sequence[tuple[str, str]]:
        return await list_original(self, step, before + (NOTICE_SECONDS if step == EXPIRED else 0.0))

    _replace(Expiry, "_list_due", list_early)


def expire_silently() -> None:
    """Tell no consumer that an output has expired."""

    async def write_nothing(*_: object, **__: object) -> int:
        return 0

    _replace(delivery_erasure, "write_expired", write_nothing)


def never_expire() -> None:
    """Announce the end of an output and keep it."""
    list_original = Expiry._list_due

    async def list_announced(self: Expiry, step: int, before: float) -> Sequence[tuple[str, str]]:
        return [] if step == EXPIRED else await list_original(self, step, before)

    _replace(Expiry, "_list_due", list_announced)


REMOVAL_MUTATIONS = (
    complete_batch_again,
    forget_ends_in_batch,
    ignore_limit_of_export,
    ignore_budget_of_day,
    keep_files_of_erased,
    keep_deliveries_of_erased,
    erase_silently,
    keep_erasure_from_streams,
    publish_after_erasure,
    expire_at_notice,
    expire_silently,
    never_expire,
)

_COMPLETE_JOBS = tuple(Step(0.0, Action.SUBMIT, index, clip="short", days=1) for index in range(3))
_LONG_JOBS = tuple(Step(0.0, Action.SUBMIT, index, clip="long") for index in range(3))
_ERASED = (
    *_LONG_JOBS,
    Step(0.0, Action.SUBMIT, 3, clip="short"),
    *(Step(1.0 + index, Action.PURGE, index) for index in range(4)),
)
_BATCH = Step(0.0, Action.BATCH, 0, clip="short,broken")
REMOVAL_STEPS: dict[str, tuple[Step, ...]] = {
    "complete-batch-again": (_BATCH, *(Step(4.0 + 2 * number, Action.RETRY, 1) for number in range(3))),
    "forget-ends-in-batch": (Step(0.0, Action.BATCH, 0, clip="long"), Step(0.5, Action.PURGE, 0)),
    "ignore-limit-of-export": tuple(
        Step(0.0, Action.SUBMIT, index, clip="long", limit_usd=0.2) for index in range(3)
    ),
    "ignore-budget-of-day": (  # the first use it up on any machine, and the others run when all replicas know it
        *(Step(0.0, Action.SUBMIT, index, clip="long") for index in range(40)),
        *(Step(25.0, Action.SUBMIT, index, clip="long") for index in range(40, 44)),
    ),
    **dict.fromkeys(
        (
            "keep-files-of-erased",
            "keep-deliveries-of-erased",
            "erase-silently",
            "keep-erasure-from-streams",
            "publish-after-erasure",
        ),
        _ERASED,
    ),
    **dict.fromkeys(("expire-silently", "never-expire"), _COMPLETE_JOBS),
    "expire-at-notice": tuple(replace(step, days=2) for step in _COMPLETE_JOBS),
}
"""The steps of a schedule that reveals a mutation."""
NIGHTS = dict.fromkeys(("expire-at-notice", "expire-silently", "never-expire"), 1)
"""How many days pass in it."""


def _replace(where: object, name: str, value: object) -> None:
    assert hasattr(where, name)
    setattr(where, name, value)
