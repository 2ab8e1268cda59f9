"""What a reporter sends to a real server, and when."""

import logging
import math
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from callbacks.envelope import EventType, Failure, Phase
from callbacks.reporter import DeliveryFailed, Reporter, ReporterError, Stopped
from tests.callbacks.reporter_factory import (
    DEADLINE_SECONDS,
    FAILURE,
    OUTPUT,
    create_reporter,
    sending_thread,
    wait_for_stop,
)
from tests.callbacks.scripted_server import KEY, PATH, TIMEOUT_SECONDS, FakeClock, Receiver, ScriptedResponse

HEARTBEAT_SECONDS = 15.0
PROGRESS_SECONDS = 0.25


def test_the_life_of_an_attempt(service: Receiver, reporter: Reporter) -> None:
    reporter.report_started("On a GPU")
    reporter.report_progress(Phase.DOWNLOADING, 10, "Downloading", eta_seconds=7)
    first, progress = service.take(), service.take()
    reporter.report_completed(OUTPUT, "Done", gpu_seconds=3.5)
    last = service.take()

    assert first.callback.type is EventType.STARTED
    assert first.callback.timestamp.timestamp() == first.timestamp
    assert (first.callback.data.phase, first.callback.data.message) == (Phase.STARTING, "On a GPU")
    assert (progress.callback.data.progress, progress.callback.data.eta_seconds) == (10, 7)
    assert last.callback.type is EventType.COMPLETED
    assert (last.callback.data.phase, last.callback.data.progress) == (Phase.DONE, 100)
    assert (last.callback.data.output, last.callback.data.gpu_seconds) == (OUTPUT, 3.5)
    assert [first.step, progress.step, last.step] == [1, 2, 3]
    assert len({first.message_id, progress.message_id, last.message_id}) == 3
    reports = [sent.callback.data for sent in (first, progress, last)]
    assert {(report.job_id, report.attempt, report.call_id) for report in reports} == {("job-1", 2, "fc-1")}


def test_every_report_tells_how_long_the_run_has_been_at_work(
    service: Receiver, reporter: Reporter, clock: FakeClock
) -> None:
    began = clock.monotonic()
    reporter.attach_gpu_meter(lambda: clock.monotonic() - began + 2)
    reporter.report_started()
    first = service.take()
    clock.advance(HEARTBEAT_SECONDS)
    heartbeat = service.take()
    reporter.report_failed(FAILURE, gpu_seconds=20)
    last = service.take()
    gpu_seconds = [report.callback.data.gpu_seconds for report in (first, heartbeat, last)]
    assert gpu_seconds == [2, 2 + HEARTBEAT_SECONDS, 20]


def test_a_failure_keeps_phase_and_progress(service: Receiver, reporter: Reporter) -> None:
    reporter.report_progress(Phase.UPLOADING, 80, "Uploading")
    service.take()
    reporter.report_failed(FAILURE, gpu_seconds=1)
    last = service.take().callback
    assert (last.type, last.data.error, last.data.message) == (EventType.FAILED, FAILURE, FAILURE.message)
    assert (last.data.phase, last.data.progress) == (Phase.UPLOADING, 80)


def test_the_newest_tick_wins_four_times_a_second(
    service: Receiver, reporter: Reporter, clock: FakeClock
) -> None:
    reporter.report_progress(Phase.PROCESSING, 1, "1")
    first = service.take()
    for percent in range(2, 50):
        reporter.report_progress(Phase.PROCESSING, percent, f"{percent}")
    clock.advance(PROGRESS_SECONDS)
    second = service.take()
    clock.wait_for_sleeper(HEARTBEAT_SECONDS)
    assert service.take_all() == []
    assert [first.step, second.step] == [1, 2]
    assert second.callback.data.progress == 49


def test_a_silent_phase_is_kept_alive(service: Receiver, reporter: Reporter, clock: FakeClock) -> None:
    reporter.report_started()
    service.take()
    clock.advance(HEARTBEAT_SECONDS)
    heartbeat = service.take()
    assert (heartbeat.callback.type, heartbeat.step) == (EventType.PROGRESS, 2)
    assert heartbeat.callback.data.phase is Phase.STARTING
    reporter.report_progress(Phase.PROCESSING, 40, "Encoding")
    progress = service.take()
    clock.advance(HEARTBEAT_SECONDS)
    heartbeat = service.take()
    assert (progress.step, heartbeat.step) == (3, 4)
    assert heartbeat.message_id != progress.message_id
    assert (heartbeat.callback.data.progress, heartbeat.callback.data.message) == (40, "Encoding")


def test_before_the_first_word_and_after_the_last_there_is_no_heartbeat(
    service: Receiver, reporter: Reporter, clock: FakeClock
) -> None:
    clock.wait_for_sleeper(None)
    reporter.report_started()
    reporter.report_completed(OUTPUT, "Done", 0)
    reporter.report_progress(Phase.PROCESSING, 50, "late")
    clock.wait_for_sleeper(None)
    assert [request.step for request in service.take_all()] == [1, 2]


@pytest.mark.parametrize("status", [404, 410])
def test_a_tick_that_is_answered_stop_stops_the_run(
    service: Receiver, reporter: Reporter, status: int
) -> None:
    service.script(status)
    reporter.report_progress(Phase.PROCESSING, 1, "")
    wait_for_stop(reporter)
    with pytest.raises(Stopped):
        reporter.report_progress(Phase.PROCESSING, 2, "")
    with pytest.raises(Stopped):
        reporter.report_completed(OUTPUT, "Done", 0)
    with pytest.raises(Stopped):
        reporter.report_failed(FAILURE, 0)
    assert len(service.take_all()) == 1


@pytest.mark.parametrize("status", [404, 410])
def test_an_awaited_report_that_is_answered_stop_raises(
    service: Receiver, reporter: Reporter, status: int
) -> None:
    service.script(status)
    with pytest.raises(Stopped):
        reporter.report_started()
    assert reporter.stopped


def test_a_stop_for_the_tick_ahead_stops_the_awaited_report(
    service: Receiver, reporter: Reporter, clock: FakeClock, pool: ThreadPoolExecutor
) -> None:
    release = threading.Event()
    service.script(ScriptedResponse(410, release=release))
    reporter.report_progress(Phase.PROCESSING, 1, "")
    service.take()
    done = pool.submit(reporter.report_completed, OUTPUT, "Done", 0)
    clock.wait_for_sleeper(DEADLINE_SECONDS)
    release.set()
    with pytest.raises(Stopped):
        done.result(TIMEOUT_SECONDS)
    assert service.take_all() == []


def test_a_terminal_report_discards_the_tick_that_waits(
    service: Receiver, reporter: Reporter, clock: FakeClock, pool: ThreadPoolExecutor
) -> None:
    release = threading.Event()
    service.script(ScriptedResponse(release=release))
    reporter.report_progress(Phase.PROCESSING, 1, "in flight")
    service.take()
    reporter.report_progress(Phase.PROCESSING, 2, "waiting")
    done = pool.submit(reporter.report_completed, OUTPUT, "Done", 0)
    clock.wait_for_sleeper(DEADLINE_SECONDS)
    release.set()
    done.result(TIMEOUT_SECONDS)
    last = service.take()
    assert (last.callback.type, last.step) == (EventType.COMPLETED, 2)
    clock.wait_for_sleeper(None)
    assert service.take_all() == []


def test_a_blocked_service_blocks_neither_progress_nor_close(
    service: Receiver, reporter: Reporter, pool: ThreadPoolExecutor
) -> None:
    release = threading.Event()
    service.script(ScriptedResponse(release=release))
    reporter.report_progress(Phase.PROCESSING, 0, "")
    service.take()
    thread = sending_thread()
    for frame in range(1_000):
        reporter.report_progress(Phase.PROCESSING, frame / 20, "")
    reporter.close()
    release.set()
    thread.join(TIMEOUT_SECONDS)
    assert not thread.is_alive()
    assert service.take_all() == []


def test_progress_never_falls_and_only_completion_is_100(
    service: Receiver, reporter: Reporter, clock: FakeClock
) -> None:
    seen: list[float] = []
    for percent in (5, -1, math.nan, 4, 30, 10, math.inf, 100):
        reporter.report_progress(Phase.PROCESSING, percent, "", eta_seconds=math.nan)
        if seen:
            clock.advance(PROGRESS_SECONDS)
        seen.append(service.take().callback.data.progress)
    assert seen == [5, 5, 5, 5, 30, 30, 99.9, 99.9]


def test_odd_texts_and_numbers_are_made_to_fit(service: Receiver, reporter: Reporter) -> None:
    reporter.report_failed(Failure(code="decode", message="\0\ud800" + "x" * 3_000), gpu_seconds=math.nan)
    last = service.take().callback.data
    assert last.error is not None
    assert last.error.message == "\N{REPLACEMENT CHARACTER}?" + "x" * 1_998
    assert last.gpu_seconds is None


def test_neither_url_nor_key_is_logged_or_raised(
    service: Receiver, fast_reporter: Reporter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    service.script(503, 302, 401, 401, 422)
    raised = []
    for send in (fast_reporter.report_started, fast_reporter.report_started):
        with pytest.raises(ReporterError) as refused:
            send()
        raised.append(str(refused.value))
    written = caplog.text + "".join(raised)
    assert "503" in written
    for secret in (PATH, service.url, "127.0.0.1", KEY.hex(), repr(KEY)):
        assert secret not in written


@pytest.mark.parametrize(
    ("url", "key"),
    [
        pytest.param("", KEY, id="no URL"),
        pytest.param("ftp://host/secret", KEY, id="another scheme"),
        pytest.param("http://", KEY, id="no host"),
        pytest.param("http://host:port/secret", KEY, id="a port that is no number"),
        pytest.param("http://host/", b"secret", id="a short key"),
    ],
)
def test_a_bad_url_or_key_is_refused_and_not_quoted(url: str, key: bytes) -> None:
    with pytest.raises(ValueError, match=r"^(the callback URL|a callback key) ") as refused:
        Reporter(url, key, job_id="j", attempt=1, call_id="c", deadline_seconds=1)
    assert "secret" not in str(refused.value)


def test_outside_the_block_nothing_is_sent(service: Receiver, clock: FakeClock) -> None:
    reporter = create_reporter(service, clock)
    with pytest.raises(DeliveryFailed):
        reporter.report_started()
    with reporter:
        thread = sending_thread()
    assert not thread.is_alive()
    reporter.report_progress(Phase.PROCESSING, 1, "")
    with pytest.raises(DeliveryFailed):
        reporter.report_completed(OUTPUT, "Done", 0)
    assert service.take_all() == []


def test_it_works_by_the_real_clock(service: Receiver) -> None:
    service.script(503)
    with Reporter(
        service.url, KEY, job_id="j", attempt=1, call_id="c", deadline_seconds=math.inf, random=lambda: 0.01
    ) as reporter:
        reporter.report_started()
        reporter.report_progress(Phase.PROCESSING, 1, "")
        assert service.take().step == service.take().step == 1
        assert service.take().step == 2
        reporter.report_completed(OUTPUT, "Done", 0)
