"""Report a run's progress to the service, and stop the run when the service says so."""

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
from callbacks.sanitize import sanitize_failure, sanitize_progress, sanitize_seconds, sanitize_text
from callbacks.sender import Clock, Sender
from callbacks.transport import READ_TIMEOUT_SECONDS, CallbackTransport, Outcome


class ReporterError(Exception):
    """The service did not accept a report."""


class Stopped(ReporterError):
    """The service has ended this attempt: stop now, and upload nothing."""


class DeliveryFailed(ReporterError):
    """The report could not be delivered before the deadline."""


class Unauthorized(ReporterError):
    """The service does not accept this attempt's signature."""


class Rejected(ReporterError):
    """The service can't read the report: a bug, which retries do not change."""


class Reporter:
    """Reports one attempt, from one thread; a context manager, outside of which nothing is sent.

    `deadline_seconds` counts from the construction to when the run is ended. Neither the URL nor the key appears in any
    message or log.
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
        max_retry_seconds: float = math.inf,
        read_timeout_seconds: float = READ_TIMEOUT_SECONDS,
        clock: Clock | None = None,
        random: Random = random_module.random,
    ) -> None:
        """Raise ValueError for an invalid URL or key.

        `max_retry_seconds` limits the retries of one report, for runs whose return value says the same.
        """
        self._clock = clock or Clock()
        transport = CallbackTransport(
            url, key, now=self._clock.time, read_timeout_seconds=read_timeout_seconds
        )
        name = f"{job_id} attempt {attempt}"
        self._sender = Sender(transport, name=name, clock=self._clock, random=random)
        self._deadline = self._clock.monotonic() + deadline_seconds
        self._max_retry_seconds = max_retry_seconds
        self._lock = threading.RLock()  # from reading the latest report to offering the next one
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
        """Send nothing more, not even pending progress; returns within about a second."""
        self._sender.close()

    @property
    def stopped(self) -> bool:
        """Whether the service has answered any report with 404 or 410."""
        return self._sender.stopped

    def attach_gpu_meter(self, gpu_seconds: Callable[[], float]) -> None:
        """Send the GPU time with every report, so that a run that is lost later is counted too.

        `gpu_seconds` is called by the sending thread.
        """
        self._sender.gpu_meter = gpu_seconds

    def report_started(self, message: str = "") -> None:
        """Report the start; returns once it is stored, or raises a `ReporterError`."""
        self._deliver(EventType.STARTED, replace(self._latest, message=sanitize_text(message)))

    def report_progress(
        self, phase: Phase, progress: float, message: str, eta_seconds: float | None = None
    ) -> None:
        """Report the progress in percent, without waiting for the network; only the newest is sent.

        Raises only `Stopped`, once the service has said so. While the service is down the run goes on.
        """
        with self._lock:
            self._latest = replace(
                self._latest,
                phase=phase,
                progress=sanitize_progress(progress, self._latest.progress),
                message=sanitize_text(message),
                eta_seconds=sanitize_seconds(eta_seconds),
            )
            self._raise_if_stopped()
            self._sender.offer(self._latest)

    def report_completed(self, output: Output, message: str, gpu_seconds: float) -> None:
        """Report the output; returns once it is stored, or raises a `ReporterError`."""
        last = replace(
            self._latest,
            phase=Phase.DONE,
            progress=100,
            message=sanitize_text(message),
            eta_seconds=None,
            gpu_seconds=sanitize_seconds(gpu_seconds),
            output=output,
        )
        self._deliver(EventType.COMPLETED, last)

    def report_failed(self, failure: Failure, gpu_seconds: float) -> None:
        """Report the failure; returns once it is stored, or raises a `ReporterError`."""
        error = sanitize_failure(failure)
        last = replace(
            self._latest,
            message=error.message,
            eta_seconds=None,
            gpu_seconds=sanitize_seconds(gpu_seconds),
            error=error,
        )
        self._deliver(EventType.FAILED, last)

    def _deliver(self, kind: EventType, report: Report) -> None:
        self._raise_if_stopped()
        give_up_at = min(self._deadline, self._clock.monotonic() + self._max_retry_seconds)
        response = self._sender.deliver(kind, report, give_up_at)
        self._raise_if_stopped()
        if response is None:
            raise DeliveryFailed(f"{kind}: no answer before the deadline, or the reporter is closed")
        match response.outcome:
            case Outcome.STORED:
                return
            case Outcome.STOP:
                raise Stopped(f"{kind}: {response.reason}")
            case Outcome.UNAUTHORIZED:
                raise Unauthorized(f"{kind}: {response.reason}")
            case Outcome.REJECTED:
                raise Rejected(f"{kind}: {response.reason}")
            case Outcome.UNAVAILABLE:
                raise DeliveryFailed(f"{kind}: {response.reason}")

    def _raise_if_stopped(self) -> None:
        if self._sender.stopped:
            raise Stopped("the service has ended this attempt")
