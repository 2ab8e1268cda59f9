"""What the checkers of batches, budgets, erasures and streams call a violation, without a cluster."""

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import standardwebhooks

from tests.faults.checkers.batch_checks import find_open_batches, find_wrong_batch, find_wrong_totals
from tests.faults.checkers.callback_checker import ReportedStep, StateBefore, find_wrong_acceptance
from tests.faults.checkers.database_reader import BatchRow, DatabaseReader, Row
from tests.faults.checkers.delivery_checks import LoggedAttempt, check_delivery_log, find_wrong_erasures
from tests.faults.checkers.erasure_checks import find_unexpired, find_wrong_expiries, list_files
from tests.faults.checkers.inbox_checker import Inbox
from tests.faults.checkers.stream_checker import StreamChecker
from tests.faults.checkers.violations import AcceptedBatch, History, Removal
from tests.faults.sample_rows import build_delivery, build_row

pytestmark = pytest.mark.anyio


class NoRow(DatabaseReader):
    """A database in which the export does not exist any more."""

    def __init__(self) -> None:
        """Need no source."""

    async def wait_for_row(self, _job_id: str) -> Row | None:
        return None


@pytest.mark.parametrize(
    ("before", "wrong"),
    [
        pytest.param(StateBefore(build_row(cost_usd=0.9, max_cost_usd=1.0)), 0, id="below the limit"),
        pytest.param(StateBefore(build_row(cost_usd=1.0, max_cost_usd=1.0)), 1, id="at the limit"),
        pytest.param(
            StateBefore(build_row(cost_usd=1.0, max_cost_usd=1.0, step=6)), 0, id="the same step again"
        ),
        pytest.param(StateBefore(build_row(), has_spent_day=True), 1, id="the budget of the day is used up"),
    ],
)
def test_one_callback_may_reach_a_limit_and_no_other_follows(before: StateBefore, wrong: int) -> None:
    assert len(list(find_wrong_acceptance(ReportedStep("job", 2, "0b", 6, False), before))) == wrong


def test_a_batch_adds_up() -> None:
    batch = {"batch_id": "b", "total": 2, "progress": 100, "completed_at": "now"}
    assert not list(find_wrong_totals(batch | {"counts": {"complete": 1, "error": 1}}))
    assert list(find_wrong_totals(batch | {"counts": {"complete": 1, "processing": 1}}))
    assert list(find_wrong_totals(batch | {"counts": {"complete": 3}}))


def test_a_batch_is_shown_as_its_exports_are() -> None:
    history = History(removals={"gone": Removal(0.0, 1.0)})
    batch = AcceptedBatch("batch", ("job", "gone"))
    shown = {"total": 2, "counts": {"complete": 1}, "cost_usd": 0.5}
    rows = [build_row(status="complete", cost_usd=0.5)]
    assert not list(find_wrong_batch(batch, shown, rows, history))
    assert list(find_wrong_batch(batch, shown | {"counts": {"error": 1}}, rows, history))
    assert list(find_wrong_batch(batch, shown | {"cost_usd": 0.4}, rows, history))
    assert list(find_wrong_batch(batch, shown, rows, History()))


def test_a_batch_is_complete_in_the_end_or_gone() -> None:
    history = History(batches={"batch": AcceptedBatch("batch", ("job",))})
    assert not list(find_open_batches(history, [BatchRow("batch", 1, 5.0)]))
    assert list(find_open_batches(history, [BatchRow("batch", 1, None)]))
    assert list(find_open_batches(history, []))
    history.removals["batch"] = Removal(0.0, 1.0)
    assert not list(find_open_batches(history, []))
    assert list(find_open_batches(history, [BatchRow("batch", 1, 5.0)]))


def test_nothing_of_an_erased_export_is_left_in_its_deliveries() -> None:
    assert not list(check_delivery_log([build_delivery()], {}, {}, ["job"]))
    assert list(check_delivery_log([build_delivery(payload="{}")], {}, {}, ["job"]))


def test_a_delivery_that_succeeded_waits_only_if_it_was_requested_again() -> None:
    logged = {"del": [LoggedAttempt("del", 1, 0.1, 204, None)]}
    for requested in (True, False):
        pending = build_delivery(state="pending", attempts=1, requested=requested)
        wrong = list(check_delivery_log([pending], logged, {}))
        assert any("it is pending, and the log shows" in sentence for sentence in wrong) is not requested


@pytest.mark.parametrize(
    ("types", "wrong"),
    [
        (["export.completed", "export.erased"], False),
        (["export.erased", "export.completed"], True),
        (["export.completed"], True),
        (["export.erased", "export.erased"], True),
    ],
)
def test_the_last_event_of_an_erased_export_is_one_erasure(types: list[str], wrong: bool) -> None:
    outbox = [build_delivery(type=type_, sequence=number) for number, type_ in enumerate(types)]
    assert bool(list(find_wrong_erasures(outbox, "ep", ["job"]))) == wrong


def test_an_output_expires_when_its_time_has_come() -> None:
    due, early = (build_row(status="complete", expires_at=at, expiry_step=2) for at in (10.0, 30.0))
    assert not list(find_wrong_expiries([due], 20.0))
    assert list(find_wrong_expiries([early], 20.0))
    assert list(find_unexpired([build_row(status="complete", expires_at=10.0, expiry_step=1)], 20.0))
    assert not list(find_unexpired([due, build_row(expires_at=10.0)], 20.0))


def test_files_are_found_by_the_export_that_their_path_names(tmp_path: Path) -> None:
    path = tmp_path / "objects" / ".attempts" / "job-1" / "output.mp4"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"video")
    assert list(list_files(tmp_path, "job")) == [path.relative_to(tmp_path)]
    assert not list(list_files(tmp_path, "another"))


def frame(sequence: int, status: str = "processing") -> dict[str, Any]:
    return {
        "job_id": "job",
        "sequence": sequence,
        "status": status,
        "phase": status,
        "progress": 1.0,
        "attempt": 1,
        "message": "",
        "error": None,
        "output": None,
        "gpu_seconds": 0.0,
    }


def checker(replicas: int = 1) -> StreamChecker:
    history = History(removals={"job": Removal(0.0, 1.0)})
    return StreamChecker("reader", history, NoRow(), Path(), replicas=replicas)


async def test_nothing_follows_an_erasure_on_a_connection() -> None:
    stream = checker()
    erased = {"job_id": "job", "status": "erased", "sequence": 6}
    await stream.check_frame(None, frame(5))
    await stream.check_frame("export.erased", erased)
    assert not stream.history.violations
    await stream.check_frame("export.erased", erased)
    await stream.check_frame("export.progress", frame(7))
    assert len(stream.history.violations) == 2


async def test_the_end_of_a_batch_comes_once_on_a_connection() -> None:
    stream = checker()
    counts = {"complete": 1}
    batch = {"batch_id": "b", "total": 1, "progress": 100, "completed_at": "now", "counts": counts}
    await stream.check_frame("batch.completed", batch)
    stream.start_connection()
    await stream.check_frame("batch.completed", batch)
    assert not stream.history.violations
    await stream.check_frame("batch.completed", batch)
    assert stream.history.violations


@pytest.mark.parametrize(("retried", "wrong"), [({}, True), ({"job": 1}, False)])
async def test_a_completed_batch_has_active_exports_only_after_a_retry(
    retried: dict[str, int], wrong: bool
) -> None:
    stream = checker()
    stream.history.retried = retried
    counts = {"complete": 1, "pending": 1}
    batch = {"batch_id": "b", "total": 2, "progress": 50, "completed_at": "now", "counts": counts}
    await stream.check_frame("batch.completed", batch)
    assert bool(stream.history.violations) == wrong


@pytest.mark.parametrize(("replicas", "wrong"), [(1, True), (2, False)])
async def test_a_connection_to_another_replica_may_begin_behind(replicas: int, wrong: bool) -> None:
    stream = checker(replicas)
    await stream.check_frame(None, frame(6))
    stream.start_connection()
    await stream.check_frame(None, frame(5))
    assert bool(stream.history.violations) == wrong
    assert stream.latest["job"]["sequence"] == (5 if wrong else 6)


async def test_states_rise_once_a_connection_has_caught_up() -> None:
    stream = checker(replicas=2)
    await stream.check_frame(None, frame(6))
    await stream.check_frame("export.progress", frame(5))
    assert stream.history.violations


@pytest.mark.parametrize(("is_recovering", "wrong"), [(False, True), (True, False)])
def test_only_a_recovery_sends_the_end_of_an_export_after_its_expiry(
    is_recovering: bool, wrong: bool
) -> None:
    secret = "whsec_" + base64.b64encode(bytes(32)).decode()
    inbox = Inbox(History(), lambda _: True)
    inbox.set_secret(secret)
    inbox.is_recovering = is_recovering
    for sequence, kind in ((9, "export.expired"), (8, "export.completed")):
        body = msgspec.json.encode({"type": kind, "data": {"job_id": "job", "sequence": sequence}})
        signature = standardwebhooks.Webhook(secret).sign(kind, datetime.fromtimestamp(0, UTC), body.decode())
        headers = {"webhook-id": kind, "webhook-timestamp": "0", "webhook-signature": signature}
        inbox.receive(headers, body)
    assert bool(inbox.history.violations) == wrong
