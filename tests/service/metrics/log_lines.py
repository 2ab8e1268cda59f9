"""Read what a service logs, as JSON lines."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from callbacks.log_format import JsonFormatter
from infra.telemetry import RequestIdFilter
from service.startup.logging_setup import NOISY_LOGGERS

Line = dict[str, Any]


class LogLines(logging.Handler):
    """Formats records as the service does, and keeps the lines."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.text: list[str] = []
        self.setFormatter(JsonFormatter())
        self.addFilter(RequestIdFilter())

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith(NOISY_LOGGERS):
            self.text.append(self.format(record))

    @property
    def lines(self) -> list[Line]:
        return [json.loads(text) for text in self.text]

    def events(self, prefix: str) -> list[Line]:
        """Return the lines of the events whose names begin so."""
        return [line for line in self.lines if line.get("event", "").startswith(prefix)]


@contextmanager
def record_log() -> Iterator[LogLines]:
    """Keep what is logged from level INFO on until the block ends."""
    root, lines = logging.getLogger(), LogLines()
    level = root.level
    root.addHandler(lines)
    root.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        root.removeHandler(lines)
        root.setLevel(level)
