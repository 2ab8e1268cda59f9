"""The thread that sends. It holds what is to be sent next, not a queue: at most one awaited letter (a caller
waits for its answer), and of each phase at most one tick, the newest. So a service that is down never holds the
encode up, and none of the phases is lost, however short.
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
    """Time, as tests replace it."""

    def time(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never run backwards."""
        return time.monotonic()

    def wait(self, condition: threading.Condition, until: float | None) -> None:
        """Sleep until notified, or until that monotonic time; `condition` is held."""
        remaining = threading.TIMEOUT_MAX if until is None else until - self.monotonic()
        condition.wait(min(max(remaining, 0), threading.TIMEOUT_MAX))


@dataclass(slots=True, eq=False)
class PendingCallback:
    """Something to send; once sealed, its step, id and bytes are the same at every try."""

    kind: EventType
    report: Report
    deadline: float | None = None  # monotonic; only of awaited letters
    due: float = float("-inf")
    message_id: str = ""
    body: bytes = b""
    refusals: int = 0
    response: CallbackResponse | None = None


class Sender:
    """Sends for one attempt; started and closed once."""

    def __init__(self, transport: CallbackTransport, *, name: str, clock: Clock, random: Random) -> None:
        self._courier = transport
        self._name = name
        self._clock = clock
        self._random = random
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"callbacks of {name}", daemon=True)
        self._awaited: PendingCallback | None = None
        self._progress: dict[Phase, PendingCallback] = {}
        self._stored_phase: Phase | None = None  # the last phase that was stored
        self._heartbeat: Report | None = None  # what a heartbeat repeats, while the run lasts
        self._step = 0
        self._failures = 0  # in a row
        self._sent_at = float("-inf")
        self._progress_due = float("-inf")
        self._finished = False
        self._stopped = False
        self._closed = True
        self.gpu_meter: Callable[[], float] | None = None

    @property
    def stopped(self) -> bool:
        """Whether the service has answered 404 or 410 to anything."""
        return self._stopped

    def start(self) -> None:
        """Let the thread begin."""
        self._closed = False
        self._thread.start()

    def close(self) -> None:
        """Send nothing more. A request in flight is left to its timeout, on the daemon thread."""
        self._end()
        if self._thread.is_alive():
            self._thread.join(CLOSE_SECONDS)

    def offer(self, report: Report) -> None:
        """Make `report` the newest tick, in place of one of the same phase that is not sent yet; never blocks."""
        with self._changed:
            if self._finished:
                return
            self._heartbeat = report
            self._progress.pop(report.phase, None)
            if self._stored_phase is not None:
                self._progress.pop(
                    self._stored_phase, None
                )  # its time is known, and its progress is overtaken
            self._progress[report.phase] = PendingCallback(EventType.PROGRESS, report)
            self._changed.notify_all()

    def deliver(self, kind: EventType, report: Report, deadline: float) -> CallbackResponse | None:
        """Send `report` until it is answered for good; None: given up at the monotonic `deadline` or closed."""
        pending = PendingCallback(kind, report, deadline)
        with self._changed:
            if kind.is_terminal:
                self._heartbeat = None
            self._awaited = pending
            self._changed.notify_all()
            try:
                while pending.response is None and not self._idle and self._clock.monotonic() < deadline:
                    self._clock.wait(self._changed, deadline)
            finally:
                self._awaited = None
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
            with self._courier as transport:
                while (pending := self._next()) is not None:
                    self._apply_response(pending, transport.post(pending.message_id, pending.body))
        finally:
            self._end()  # whatever ended the thread, nobody waits for it

    def _next(self) -> PendingCallback | None:
        """Wait for what is to be sent next; None when that is nothing, for good."""
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
        """The next letter and when it is due: the awaited one, the newest tick, or else a heartbeat.

        A new phase is told at once, and even ahead of the awaited one while the service takes what it is sent.
        """
        tick = next(iter(self._progress.values()), None)
        news = tick is not None and tick.report.phase is not self._stored_phase
        if self._awaited is not None and self._awaited.response is None:
            ahead = tick if news and not self._failures and self._awaited.kind.is_terminal else None
            return ahead or self._awaited, self._awaited.due
        if tick is not None:
            return tick, max(self._progress_due, self._sent_at + (0 if news else PROGRESS_SECONDS))
        if self._heartbeat is not None:
            beat = PendingCallback(EventType.PROGRESS, self._heartbeat)
            return beat, max(self._progress_due, self._sent_at + HEARTBEAT_SECONDS)
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
        """Take an answer in: the letter is done with, or due again."""
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
            self._finished = True
            self._progress.clear()
            self._heartbeat = None
        elif self._heartbeat is None and pending.kind is EventType.STARTED:
            self._heartbeat = pending.report

    def _postpone(self, pending: PendingCallback, response: CallbackResponse) -> None:
        self._failures += 1
        delay = max(backoff_seconds(self._failures, self._random), response.retry_after_seconds or 0)
        pending.due = self._clock.monotonic() + delay
        pending.refusals += response.outcome is Outcome.UNAUTHORIZED
        if pending.deadline is None:
            self._progress_due = pending.due
        level = logging.WARNING if pending.deadline is not None or self._failures == 1 else logging.DEBUG
        logger.log(level, "%s of %s was not taken: %s", pending.kind, self._name, response.reason)

    def _should_retry(self, pending: PendingCallback, response: CallbackResponse) -> bool:
        if pending.deadline is not None and pending.due >= pending.deadline:
            return False  # giving up early leaves time for the return value, which carries the same
        if response.outcome is Outcome.UNAUTHORIZED:
            return pending.refusals == 1
        return response.outcome is Outcome.UNAVAILABLE
