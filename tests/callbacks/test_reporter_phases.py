"""Every phase is reported, however short it is, in order and before the end."""

import threading
from concurrent.futures import ThreadPoolExecutor

from callbacks.envelope import EventType, Phase
from callbacks.reporter import Reporter
from tests.callbacks.reporter_factory import OUTPUT
from tests.callbacks.scripted_server import TIMEOUT_SECONDS, FakeClock, Receiver, ScriptedResponse

PROGRESS_SECONDS = 0.25


def take_reports(service: Receiver) -> list[tuple[EventType, Phase, float]]:
    reports = [(sent.callback.type, sent.callback.data) for sent in service.take_all()]
    return [(kind, report.phase, report.progress) for kind, report in reports]


def test_a_new_phase_is_told_at_once(service: Receiver, reporter: Reporter, clock: FakeClock) -> None:
    reporter.report_started()
    for phase in (Phase.DOWNLOADING, Phase.PROCESSING, Phase.UPLOADING):
        reporter.report_progress(phase, 10, "")
        while service.take().callback.data.phase is not phase:
            pass
    reporter.report_progress(Phase.UPLOADING, 20, "")
    clock.wait_for_sleeper(PROGRESS_SECONDS)


def test_phases_that_pass_while_a_report_is_under_way_are_told_in_order(
    service: Receiver, reporter: Reporter, pool: ThreadPoolExecutor
) -> None:
    release = threading.Event()
    service.script(ScriptedResponse(release=release))
    reporter.report_progress(Phase.DOWNLOADING, 2, "")
    service.take()
    for phase, progress in ((Phase.DOWNLOADING, 4), (Phase.PROCESSING, 5), (Phase.PROCESSING, 90)):
        reporter.report_progress(phase, progress, "")
    reporter.report_progress(Phase.UPLOADING, 95, "")
    ending = pool.submit(reporter.report_completed, OUTPUT, "Done", 1)
    release.set()
    ending.result(TIMEOUT_SECONDS)
    assert take_reports(service) == [
        (EventType.PROGRESS, Phase.PROCESSING, 90),
        (EventType.PROGRESS, Phase.UPLOADING, 95),
        (EventType.COMPLETED, Phase.DONE, 100),
    ]


def test_a_service_that_is_back_hears_of_every_phase_it_missed(
    service: Receiver, fast_reporter: Reporter, clock: FakeClock
) -> None:
    release = threading.Event()
    service.script(ScriptedResponse(503, release=release))
    fast_reporter.report_progress(Phase.DOWNLOADING, 2, "")
    service.take()
    for progress in range(5, 95):
        fast_reporter.report_progress(Phase.PROCESSING, progress, "")
    fast_reporter.report_progress(Phase.UPLOADING, 96, "")
    release.set()
    phases = [service.take().callback.data.phase for _ in range(3)]
    assert phases == [Phase.DOWNLOADING, Phase.PROCESSING, Phase.UPLOADING]


def test_a_service_that_takes_nothing_is_told_the_end_first(service: Receiver, reporter: Reporter) -> None:
    release = threading.Event()
    service.script(ScriptedResponse(503, release=release))
    reporter.report_progress(Phase.PROCESSING, 50, "")
    service.take()
    reporter.report_progress(Phase.UPLOADING, 96, "")
    release.set()
    reporter.report_completed(OUTPUT, "Done", 1)
    assert [kind for kind, _, _ in take_reports(service)] == [EventType.COMPLETED]


def test_what_waits_to_be_sent_is_bounded_by_the_number_of_phases(
    service: Receiver, reporter: Reporter, clock: FakeClock
) -> None:
    release = threading.Event()
    service.script(ScriptedResponse(release=release))
    reporter.report_progress(Phase.STARTING, 0, "")
    service.take()
    for progress in range(1, 99):
        reporter.report_progress((Phase.DOWNLOADING, Phase.PROCESSING)[progress % 2], progress, "")
    release.set()
    assert [service.take().callback.data.progress for _ in range(2)] == [97, 98]
    clock.wait_for_sleeper(15.0)
    assert take_reports(service) == []
