"""How a reporter treats the responses of a real server, and missing ones."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from callbacks.envelope import Phase
from callbacks.reporter import DeliveryFailed, Rejected, Reporter, Unauthorized
from tests.callbacks.reporter_factory import (
    DEADLINE_SECONDS,
    FAILURE,
    OUTPUT,
    create_reporter,
    sending_thread,
)
from tests.callbacks.scripted_server import (
    PATH,
    TIMEOUT_SECONDS,
    FakeClock,
    Receiver,
    ScriptedResponse,
    receiver,
)

HEARTBEAT_SECONDS = 15.0


def test_a_failure_that_a_watchdog_reports_during_the_start_is_sent_until_it_is_stored(
    service: Receiver, reporter: Reporter, clock: FakeClock, pool: ThreadPoolExecutor
) -> None:
    answered = threading.Event()
    service.script(ScriptedResponse(release=answered), 503)
    started = pool.submit(reporter.report_started)
    service.take()
    failed = pool.submit(reporter.report_failed, FAILURE, 1)
    clock.wait_for_sleepers(2)
    answered.set()
    started.result(TIMEOUT_SECONDS)
    first = service.take()
    reporter.report_progress(Phase.PROCESSING, 50, "The run goes on until it is ended")
    clock.advance(0.5)
    failed.result(TIMEOUT_SECONDS)
    assert service.take().raw == first.raw
    assert service.take_all() == []


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_retry_waits_as_asked_and_sends_the_same_body_signed_afresh(
    service: Receiver, reporter: Reporter, clock: FakeClock, pool: ThreadPoolExecutor, status: int
) -> None:
    service.script(ScriptedResponse(status, {"Retry-After": "7"}))
    done = pool.submit(reporter.report_completed, OUTPUT, "Done", 2)
    clock.advance(7)
    done.result(TIMEOUT_SECONDS)
    first, second = service.take_all()
    assert (first.message_id, first.raw) == (second.message_id, second.raw)
    assert second.timestamp - first.timestamp == 7
    assert first.signature != second.signature


def test_backoff_doubles_without_retry_after(
    service: Receiver, reporter: Reporter, clock: FakeClock, pool: ThreadPoolExecutor
) -> None:
    service.script(500, 502, 204, 302)
    done = pool.submit(reporter.report_started)
    for seconds in (0.5, 1, 2, 4):
        clock.advance(seconds)
    done.result(TIMEOUT_SECONDS)
    assert len({request.message_id for request in service.take_all()}) == 1


def test_a_service_that_comes_up_late_is_told(clock: FakeClock, pool: ThreadPoolExecutor) -> None:
    with (
        receiver(listening=False) as service,
        create_reporter(service, clock, random=lambda: 0.5) as reporter,
    ):
        done = pool.submit(reporter.report_started)
        clock.advance(0.25)
        clock.wait_for_sleeper(0.5)
        service.listen()
        clock.advance(0.5)
        done.result(TIMEOUT_SECONDS)
        assert [request.step for request in service.take_all()] == [1]


def test_a_service_that_never_answers_is_asked_again(
    service: Receiver, clock: FakeClock, pool: ThreadPoolExecutor
) -> None:
    release = threading.Event()
    service.script(ScriptedResponse(release=release))
    with create_reporter(service, clock, read_timeout_seconds=0.05) as reporter:
        reporter.report_started()
    release.set()
    assert [request.step for request in service.take_all()] == [1, 1]


def test_one_401_is_forgiven(service: Receiver, fast_reporter: Reporter) -> None:
    service.script(401)
    fast_reporter.report_started()
    assert [request.step for request in service.take_all()] == [1, 1]


def test_a_second_401_is_final(service: Receiver, fast_reporter: Reporter) -> None:
    service.script(401, 503, 401)
    with pytest.raises(Unauthorized):
        fast_reporter.report_started()
    assert len(service.take_all()) == 3


@pytest.mark.parametrize("status", [413, 415, 422])
def test_what_is_rejected_is_not_sent_again(service: Receiver, fast_reporter: Reporter, status: int) -> None:
    service.script(status)
    with pytest.raises(Rejected, match=str(status)):
        fast_reporter.report_completed(OUTPUT, "Done", 0)
    fast_reporter.report_failed(FAILURE, 0)
    assert [request.step for request in service.take_all()] == [1, 2]


@pytest.mark.parametrize("offset", [7_200, -7_200])
def test_a_report_is_signed_anew_by_the_time_that_the_service_tells(
    service: Receiver, reporter: Reporter, clock: FakeClock, offset: int
) -> None:
    service_time = int(clock.time()) + offset
    service.script(ScriptedResponse(401, {"webhook-timestamp": str(service_time)}))
    reporter.report_progress(Phase.PROCESSING, 1, "")
    clock.advance(0.5)
    first, second = service.take(), service.take()
    assert (first.raw, first.message_id) == (second.raw, second.message_id)
    assert abs(second.timestamp - service_time) <= 1
    reporter.report_completed(OUTPUT, "Done", 0)
    assert abs(service.take().timestamp - service_time) <= 2


@pytest.mark.parametrize("status", [401, 413, 422, 503])
def test_ticks_that_are_not_taken_never_raise(
    service: Receiver, reporter: Reporter, clock: FakeClock, status: int
) -> None:
    service.script(status, status)
    reporter.report_progress(Phase.PROCESSING, 1, "")
    clock.wait_for_sleeper(HEARTBEAT_SECONDS if status in {413, 422} else 0.5)
    reporter.report_progress(Phase.PROCESSING, 2, "")
    clock.advance(0.5)
    clock.wait_for_sleeper(HEARTBEAT_SECONDS if status in {413, 422} else 1)
    reporter.report_progress(Phase.PROCESSING, 3, "")
    clock.advance(1)
    assert [service.take().step for _ in range(3)] == [1, 2, 3]


def test_a_tick_is_retried_while_it_is_the_newest(
    service: Receiver, reporter: Reporter, clock: FakeClock
) -> None:
    service.script(503, 503)
    reporter.report_progress(Phase.PROCESSING, 1, "")
    clock.advance(0.5)
    first, second = service.take(), service.take()
    assert (first.message_id, first.raw) == (second.message_id, second.raw)
    clock.wait_for_sleeper(1)
    reporter.report_progress(Phase.PROCESSING, 2, "")
    clock.advance(1)
    third = service.take()
    assert (third.step, third.callback.data.progress) == (2, 2)
    assert third.message_id != second.message_id


def test_a_blocked_service_is_given_up_at_the_deadline(
    service: Receiver, reporter: Reporter, clock: FakeClock, pool: ThreadPoolExecutor
) -> None:
    release = threading.Event()
    service.script(ScriptedResponse(release=release))
    done = pool.submit(reporter.report_completed, OUTPUT, "Done", 0)
    clock.advance(DEADLINE_SECONDS)
    with pytest.raises(DeliveryFailed):
        done.result(TIMEOUT_SECONDS)
    release.set()


def test_a_wait_beyond_the_deadline_is_given_up_at_once(
    service: Receiver, reporter: Reporter, clock: FakeClock, pool: ThreadPoolExecutor
) -> None:
    service.script(*[ScriptedResponse(503, {"Retry-After": "86400"})] * 10)
    done = pool.submit(reporter.report_completed, OUTPUT, "Done", 0)
    for _ in range(9):
        clock.advance(60)
    with pytest.raises(DeliveryFailed, match="503"):
        done.result(TIMEOUT_SECONDS)
    assert len(service.take_all()) == 10


def test_redirects_are_not_followed(service: Receiver, fast_reporter: Reporter) -> None:
    service.script(ScriptedResponse(307, {"Location": "/elsewhere"}))
    fast_reporter.report_started()
    assert service.paths == [PATH, PATH]


def test_a_proxy_in_the_environment_is_ignored(
    service: Receiver, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with create_reporter(service, clock) as reporter:
        reporter.report_started()


def test_a_flood_for_an_answer_is_not_read_to_its_end(service: Receiver, fast_reporter: Reporter) -> None:
    service.script(ScriptedResponse(body=bytes(10_000_000)))
    fast_reporter.report_started()
    fast_reporter.report_completed(OUTPUT, "Done", 0)


class InterruptedClock(FakeClock):
    """Interrupts the run after its first try has failed."""

    def wait(self, condition: threading.Condition, until: float | None) -> None:
        super().wait(condition, until)
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt


def test_a_run_that_is_cancelled_between_tries_ends(service: Receiver) -> None:
    service.script(ScriptedResponse(503, {"Retry-After": "60"}))
    with create_reporter(service, InterruptedClock()) as reporter:
        thread = sending_thread()
        with pytest.raises(KeyboardInterrupt):
            reporter.report_started()
    assert not thread.is_alive()
    assert len(service.take_all()) == 1
