"""Send callbacks from a thread.

Instead of a queue it keeps what is sent next: at most one callback that a caller waits for, and the newest progress of
each phase. So a service that is down never blocks the encoding, and no phase is lost, however short.
"""

import logging
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from msgspec.structs import replace

from callbacks.envelope import Callback, EventType, Phase, Report, encode
from callbacks.retry import Random, backoff_seconds
from callbacks.sanitize import sanitize_seconds
from callbacks.transport import CallbackResponse, CallbackTransport, Outcome

PROGRESS_SECONDS: Final = 0.25
HEARTBEAT_SECONDS: Final = 15.0
CLOSE_SECONDS: Final = 1.0

logger = logging.getLogger("framehook.reporter")


class Clock:
    """The clocks of a sender; tests replace them."""

    def time(self) -> float:
        """Return seconds since 1970."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back."""
        return time.monotonic()

    def wait(self, condition: threading.Condition, until: float | None) -> None:
        """Sleep until notified, or until that monotonic time; the caller owns `condition`."""
        remaining = threading.TIMEOUT_MAX if until is None else until - self.monotonic()
        condition.wait(min(max(remaining, 0), threading.TIMEOUT_MAX))


@dataclass(slots=True, eq=False)
class PendingCallback:
    """A callback that is not accepted yet; once frozen, its step, id and bytes stay the same in every try."""

    kind: EventType
    report: Report
    deadline: float | None = None  # monotonic; only if a caller waits for the response
    due: float = float("-inf")
    message_id: str = ""
    body: bytes = b""
    unauthorized_count: int = 0
    response: CallbackResponse | None = None


class Sender:
    """Sends the callbacks of one attempt; started and closed once."""

    def __init__(self, transport: CallbackTransport, *, name: str, clock: Clock, random: Random) -> None:
        self._transport = transport
        self._name = name
        self._clock = clock
        self._random = random
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"callbacks of {name}", daemon=True)
        self._awaited: PendingCallback | None = None
        # The newest progress of each phase, in order; those that are stored already are removed.
        self._progress: dict[Phase, PendingCallback] = {}
        self._stored_phase: Phase | None = None  # the phase of the last report that the service stored
        self._heartbeat: Report | None = None  # the report that heartbeats repeat while the run lasts
        self._step = 0
        self._failures = 0  # in a row
        self._sent_at = float("-inf")
        self._progress_due = float("-inf")
        self._finished = False  # by a last report, which need not be stored yet
        self._stopped = False
        self._closed = True
        self.gpu_meter: Callable[[], float] | None = None

    @property
    def stopped(self) -> bool:
        """Whether the service has answered any callback with 404 or 410."""
        return self._stopped

    def start(self) -> None:
        """Start the thread."""
        self._closed = False
        self._thread.start()

    def close(self) -> None:
        """Stop sending; a request in flight ends by its timeout, on the daemon thread."""
        self._end()
        if self._thread.is_alive():
            self._thread.join(CLOSE_SECONDS)

    def offer(self, report: Report) -> None:
        """Make `report` the newest progress, replacing an unsent one of the same phase; never blocks."""
        with self._changed:
            if self._finished:
                return
            self._heartbeat = report
            self._progress.pop(report.phase, None)
            if self._stored_phase is not None:  # the service knows of it, and its progress is outdated
                self._progress.pop(self._stored_phase, None)
            self._progress[report.phase] = PendingCallback(EventType.PROGRESS, report)
            self._changed.notify_all()

    def deliver(self, kind: EventType, report: Report, deadline: float) -> CallbackResponse | None:
        """Send `report` until there is a final response; None if the monotonic `deadline` passes or it is closed.

        Two threads may wait: a last report takes the place of the start, and nothing is offered after it.
        """
        pending = PendingCallback(kind, report, deadline)
        with self._changed:
            if kind.is_terminal:
                self._heartbeat, self._finished = None, True
            if kind.is_terminal or not self._finished:
                self._awaited = pending
            self._changed.notify_all()
            try:
                while pending.response is None and not self._idle and self._clock.monotonic() < deadline:
                    self._clock.wait(self._changed, deadline)
            finally:
                if self._awaited is pending:
                    self._awaited = None
                if kind.is_terminal:
                    self._progress.clear()
            return pending.response

    @property
    def _idle(self) -> bool:
        return self._closed or self._stopped

    def _end(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            with self._transport as transport:
                while (pending := self._next()) is not None:
                    self._apply_response(pending, transport.post(pending.message_id, pending.body))
        finally:
            self._end()  # a caller that waits for a response must not wait for a thread that has ended

    def _next(self) -> PendingCallback | None:
        """Wait for the next callback to send; None when there will be no more."""
        with self._changed:
            while not self._idle:
                pending, due = self._select_next()
                now = self._clock.monotonic()
                if pending is not None and now >= due:
                    if pending is not self._awaited:
                        self._progress[pending.report.phase] = pending
                    self._sent_at = now
                    self._freeze(pending)
                    return pending
                self._clock.wait(self._changed, due if pending is not None else None)
            return None

    def _select_next(self) -> tuple[PendingCallback | None, float]:
        """Return the next callback and when it is due: the awaited one, the newest progress, or else a heartbeat.

        Progress of a new phase is due immediately. Unless the service fails, it precedes even an awaited last report.
        """
        progress = next(iter(self._progress.values()), None)
        is_new_phase = progress is not None and progress.report.phase is not self._stored_phase
        if self._awaited is not None and self._awaited.response is None:
            precedes = is_new_phase and not self._failures and self._awaited.kind.is_terminal
            return (progress if precedes else self._awaited), self._awaited.due
        if progress is not None:
            return progress, max(
                self._progress_due, self._sent_at + (0 if is_new_phase else PROGRESS_SECONDS)
            )
        if self._heartbeat is not None:
            heartbeat = PendingCallback(EventType.PROGRESS, self._heartbeat)
            return heartbeat, max(self._progress_due, self._sent_at + HEARTBEAT_SECONDS)
        return None, 0

    def _freeze(self, pending: PendingCallback) -> None:
        if pending.body:
            return
        report = replace(pending.report, step=self._step + 1)
        if report.gpu_seconds is None and self.gpu_meter is not None:
            report = replace(report, gpu_seconds=sanitize_seconds(self.gpu_meter()))
        moment = datetime.fromtimestamp(self._clock.time(), UTC)
        pending.body = encode(Callback(type=pending.kind, timestamp=moment, data=report))
        pending.message_id = f"msg_{uuid.uuid4().hex}"
        self._step += 1

    def _apply_response(self, pending: PendingCallback, response: CallbackResponse) -> None:
        """Finish the callback, or schedule its next try."""
        with self._changed:
            if response.outcome is Outcome.STORED:
                self._failures = 0
                self._note_stored(pending)
            elif response.outcome is Outcome.STOP:
                self._stopped = True
            else:
                self._postpone(pending, response)
            if not self._should_retry(pending, response):
                pending.response = response
                phase = pending.report.phase
                if self._progress.get(phase) is pending or (
                    phase is self._stored_phase and len(self._progress) > 1
                ):
                    self._progress.pop(phase, None)
            self._changed.notify_all()

    def _note_stored(self, pending: PendingCallback) -> None:
        self._stored_phase = pending.report.phase
        if pending.kind.is_terminal:
            self._progress.clear()
        elif self._heartbeat is None and not self._finished and pending.kind is EventType.STARTED:
            self._heartbeat = pending.report

    def _postpone(self, pending: PendingCallback, response: CallbackResponse) -> None:
        self._failures += 1
        delay = max(backoff_seconds(self._failures, self._random), response.retry_after_seconds or 0)
        pending.due = self._clock.monotonic() + delay
        pending.unauthorized_count += response.outcome is Outcome.UNAUTHORIZED
        if pending.deadline is None:
            self._progress_due = pending.due
        level = logging.WARNING if pending.deadline is not None or self._failures == 1 else logging.DEBUG
        logger.log(level, "%s of %s was not accepted: %s", pending.kind, self._name, response.reason)

    def _should_retry(self, pending: PendingCallback, response: CallbackResponse) -> bool:
        if pending.deadline is not None and pending.due >= pending.deadline:
            return False  # leaves time for the return value, which says the same
        if response.outcome is Outcome.UNAUTHORIZED:
            return pending.unauthorized_count == 1
        return response.outcome is Outcome.UNAVAILABLE
