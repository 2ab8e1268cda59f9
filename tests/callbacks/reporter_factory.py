"""Create reporters for tests, and values to report."""

import threading
from collections.abc import Callable

from callbacks.envelope import Failure, Output
from callbacks.reporter import Reporter
from tests.callbacks.scripted_server import KEY, TIMEOUT_SECONDS, FakeClock, Receiver

OUTPUT = Output(size=9, checksum="sha256:" + "0" * 64, duration=1.5, width=640, height=360)
FAILURE = Failure(code="no_space", message="The disk is full.", transient=True)
DEADLINE_SECONDS = 600.0


def create_reporter(
    service: Receiver,
    clock: FakeClock,
    *,
    random: Callable[[], float] = lambda: 0.0,
    read_timeout_seconds: float = 30,
) -> Reporter:
    return Reporter(
        service.url,
        KEY,
        job_id="job-1",
        attempt=2,
        call_id="fc-1",
        deadline_seconds=DEADLINE_SECONDS,
        clock=clock,
        random=random,
        read_timeout_seconds=read_timeout_seconds,
    )


def sending_thread() -> threading.Thread:
    (thread,) = [thread for thread in threading.enumerate() if thread.name.startswith("callbacks of")]
    return thread


def wait_for_stop(reporter: Reporter) -> None:
    """Wait until the sending thread ends, as it does when the service stops the run."""
    for thread in threading.enumerate():
        if thread.name.startswith("callbacks of"):
            thread.join(TIMEOUT_SECONDS)
    assert reporter.stopped
