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
from callbacks.retry import Random, backoff
from callbacks.sanitize import clean_seconds
from callbacks.transport import Answer, Courier, Outcome

TICK_SECONDS: Final = 0.25
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
class Letter:
    """Something to send; once sealed, its step, id and bytes are the same at every try."""

    kind: EventType
    report: Report
    deadline: float | None = None  # monotonic; only of awaited letters
    due: float = float("-inf")
    message_id: str = ""
    body: bytes = b""
    refusals: int = 0
    answer: Answer | None = None


class Sender:
    """Sends for one attempt; started and closed once."""

    def __init__(self, courier: Courier, *, name: str, clock: Clock, random: Random) -> None:
        self._courier = courier
        self._name = name
        self._clock = clock
        self._random = random
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"callbacks of {name}", daemon=True)
        self._awaited: Letter | None = None
        self._ticks: dict[Phase, Letter] = {}  # phases still to be told, in order, or else the last one told
        self._told: Phase | None = None  # the last phase that was stored
        self._beat: Report | None = None  # what a heartbeat repeats, while the run lasts
        self._step = 0
        self._failures = 0  # in a row
        self._sent_at = float("-inf")
        self._ticks_due = float("-inf")
        self._finished = False
        self._stopped = False
        self._closed = True
        self.measure_gpu_seconds: Callable[[], float] | None = None

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
            self._beat = report
            self._ticks.pop(report.phase, None)
            if self._told is not None:
                self._ticks.pop(self._told, None)  # its time is known, and its progress is overtaken
            self._ticks[report.phase] = Letter(EventType.PROGRESS, report)
            self._changed.notify_all()

    def deliver(self, kind: EventType, report: Report, deadline: float) -> Answer | None:
        """Send `report` until it is answered for good; None: given up at the monotonic `deadline` or closed."""
        letter = Letter(kind, report, deadline)
        with self._changed:
            if kind.terminal:
                self._beat = None
            self._awaited = letter
            self._changed.notify_all()
            try:
                while letter.answer is None and not self._idle and self._clock.monotonic() < deadline:
                    self._clock.wait(self._changed, deadline)
            finally:
                self._awaited = None
            return letter.answer

    @property
    def _idle(self) -> bool:
        return self._closed or self._stopped

    def _end(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            with self._courier as courier:
                while (letter := self._next()) is not None:
                    self._settle(letter, courier.take(letter.message_id, letter.body))
        finally:
            self._end()  # whatever ended the thread, nobody waits for it

    def _next(self) -> Letter | None:
        """Wait for what is to be sent next; None when that is nothing, for good."""
        with self._changed:
            while not self._idle:
                letter, due = self._choose()
                now = self._clock.monotonic()
                if letter is not None and now >= due:
                    if letter is not self._awaited:
                        self._ticks[letter.report.phase] = letter
                    self._sent_at = now
                    self._seal(letter)
                    return letter
                self._clock.wait(self._changed, due if letter is not None else None)
            return None

    def _choose(self) -> tuple[Letter | None, float]:
        """The next letter and when it is due: the awaited one, the newest tick, or else a heartbeat.

        A new phase is told at once, and even ahead of the awaited one while the service takes what it is sent.
        """
        tick = next(iter(self._ticks.values()), None)
        news = tick is not None and tick.report.phase is not self._told
        if self._awaited is not None and self._awaited.answer is None:
            ahead = tick if news and not self._failures and self._awaited.kind.terminal else None
            return ahead or self._awaited, self._awaited.due
        if tick is not None:
            return tick, max(self._ticks_due, self._sent_at + (0 if news else TICK_SECONDS))
        if self._beat is not None:
            beat = Letter(EventType.PROGRESS, self._beat)
            return beat, max(self._ticks_due, self._sent_at + HEARTBEAT_SECONDS)
        return None, 0

    def _seal(self, letter: Letter) -> None:
        if letter.body:
            return
        report = replace(letter.report, step=self._step + 1)
        if report.gpu_seconds is None and self.measure_gpu_seconds is not None:
            report = replace(report, gpu_seconds=clean_seconds(self.measure_gpu_seconds()))
        moment = datetime.fromtimestamp(self._clock.time(), UTC)
        letter.body = encode(Callback(type=letter.kind, timestamp=moment, data=report))
        letter.message_id = f"msg_{uuid.uuid4().hex}"
        self._step += 1

    def _settle(self, letter: Letter, answer: Answer) -> None:
        """Take an answer in: the letter is done with, or due again."""
        with self._changed:
            if answer.outcome is Outcome.STORED:
                self._failures = 0
                self._note_stored(letter)
            elif answer.outcome is Outcome.STOP:
                self._stopped = True
            else:
                self._postpone(letter, answer)
            if not self._worth_retrying(letter, answer):
                letter.answer = answer
                phase = letter.report.phase
                if self._ticks.get(phase) is letter or (phase is self._told and len(self._ticks) > 1):
                    self._ticks.pop(phase, None)
            self._changed.notify_all()

    def _note_stored(self, letter: Letter) -> None:
        self._told = letter.report.phase
        if letter.kind.terminal:
            self._finished = True
            self._ticks.clear()
            self._beat = None
        elif self._beat is None and letter.kind is EventType.STARTED:
            self._beat = letter.report

    def _postpone(self, letter: Letter, answer: Answer) -> None:
        self._failures += 1
        delay = max(backoff(self._failures, self._random), answer.retry_after_seconds or 0)
        letter.due = self._clock.monotonic() + delay
        letter.refusals += answer.outcome is Outcome.UNAUTHORIZED
        if letter.deadline is None:
            self._ticks_due = letter.due
        level = logging.WARNING if letter.deadline is not None or self._failures == 1 else logging.DEBUG
        logger.log(level, "%s of %s was not taken: %s", letter.kind, self._name, answer.reason)

    def _worth_retrying(self, letter: Letter, answer: Answer) -> bool:
        if letter.deadline is not None and letter.due >= letter.deadline:
            return False  # giving up early leaves time for the return value, which carries the same
        if answer.outcome is Outcome.UNAUTHORIZED:
            return letter.refusals == 1
        return answer.outcome is Outcome.UNAVAILABLE
