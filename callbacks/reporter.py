"""Inside a run: tells the service how it goes, and the run when to stop."""

import math
import random as random_module
import secrets
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from msgspec.structs import replace

from callbacks.envelope import EventType, Failure, Output, Phase, Report
from callbacks.retry import Random
from callbacks.sanitize import clean_failure, clean_progress, clean_seconds, clean_text
from callbacks.sender import Clock, Sender
from callbacks.transport import READ_TIMEOUT_SECONDS, Courier, Outcome


class ReporterError(Exception):
    """The service did not take a report."""


class Stopped(ReporterError):
    """The service wants nothing more of this attempt: stop now, and upload nothing."""


class Undeliverable(ReporterError):
    """The service could not be told before the deadline."""


class Unauthorized(ReporterError):
    """The service does not accept this attempt's signature."""


class Rejected(ReporterError):
    """The service can't read what was sent: a bug, and never worth another try."""


class Reporter:
    """Reports one attempt, from one thread; a context manager, outside which nothing is sent.

    `deadline_seconds` counts from here to when the run itself will be ended. Neither the URL nor the key
    ever appears in a message or a log.
    """

    def __init__(
        self,
        url: str,
        key: bytes,
        *,
        job_id: str,
        attempt: int,
        call_id: str,
        deadline_seconds: float,
        patience_seconds: float = math.inf,
        read_timeout_seconds: float = READ_TIMEOUT_SECONDS,
        clock: Clock | None = None,
        random: Random = random_module.random,
    ) -> None:
        """ValueError for a URL or a key that can't be right.

        `patience_seconds`: how long one report is tried at most, where the run has another way of telling the same.
        """
        self._clock = clock or Clock()
        courier = Courier(url, key, now=self._clock.time, read_timeout_seconds=read_timeout_seconds)
        name = f"{job_id} attempt {attempt}"
        self._sender = Sender(courier, name=name, clock=self._clock, random=random)
        self._deadline = self._clock.monotonic() + deadline_seconds
        self._patience_seconds = patience_seconds
        self._lock = threading.RLock()  # between reading the latest report and offering a later one
        self._latest = Report(
            job_id=job_id,
            attempt=attempt,
            step=1,  # the sender numbers what it sends
            call_id=call_id,
            run=f"{time.time_ns():016x}{secrets.token_hex(8)}",
            phase=Phase.STARTING,
            progress=0,
            message="",
        )

    def __enter__(self) -> Self:
        self._sender.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Send nothing more, a waiting tick included; returns within about a second."""
        self._sender.close()

    @property
    def stopped(self) -> bool:
        """Whether the service has answered 404 or 410 to anything."""
        return self._sender.stopped

    def measure(self, gpu_seconds: Callable[[], float]) -> None:
        """Tell with every report how long the run has been at work, so that one that is lost is counted too.

        `gpu_seconds` is called by the thread that sends.
        """
        self._sender.measure_gpu_seconds = gpu_seconds

    def started(self, message: str = "") -> None:
        """Announce the run; returns once that is stored, or raises a `ReporterError`."""
        self._deliver(EventType.STARTED, replace(self._latest, message=clean_text(message)))

    def progress(self, phase: Phase, progress: float, message: str, eta_seconds: float | None = None) -> None:
        """Say how far the run is, in percent. Never waits for the network; the newest wins.

        Raises `Stopped` once the service has said so, and nothing else: it may be down, the run goes on.
        """
        with self._lock:
            self._latest = replace(
                self._latest,
                phase=phase,
                progress=clean_progress(progress, self._latest.progress),
                message=clean_text(message),
                eta_seconds=clean_seconds(eta_seconds),
            )
            self._raise_if_stopped()
            self._sender.offer(self._latest)

    def completed(self, output: Output, message: str, gpu_seconds: float) -> None:
        """Announce the output; returns once that is stored, or raises a `ReporterError`."""
        last = replace(
            self._latest,
            phase=Phase.DONE,
            progress=100,
            message=clean_text(message),
            eta_seconds=None,
            gpu_seconds=clean_seconds(gpu_seconds),
            output=output,
        )
        self._deliver(EventType.COMPLETED, last)

    def failed(self, failure: Failure, gpu_seconds: float) -> None:
        """Announce the failure; returns once that is stored, or raises a `ReporterError`."""
        error = clean_failure(failure)
        last = replace(
            self._latest,
            message=error.message,
            eta_seconds=None,
            gpu_seconds=clean_seconds(gpu_seconds),
            error=error,
        )
        self._deliver(EventType.FAILED, last)

    def _deliver(self, kind: EventType, report: Report) -> None:
        self._raise_if_stopped()
        until = min(self._deadline, self._clock.monotonic() + self._patience_seconds)
        answer = self._sender.deliver(kind, report, until)
        self._raise_if_stopped()
        if answer is None:
            raise Undeliverable(f"{kind}: no answer before the deadline, or the reporter is closed")
        match answer.outcome:
            case Outcome.STORED:
                return
            case Outcome.STOP:
                raise Stopped(f"{kind}: {answer.reason}")
            case Outcome.UNAUTHORIZED:
                raise Unauthorized(f"{kind}: {answer.reason}")
            case Outcome.REJECTED:
                raise Rejected(f"{kind}: {answer.reason}")
            case Outcome.UNAVAILABLE:
                raise Undeliverable(f"{kind}: {answer.reason}")

    def _raise_if_stopped(self) -> None:
        if self._sender.stopped:
            raise Stopped("the service wants nothing more of this attempt")
