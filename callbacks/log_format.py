"""Format log records of every process: one line each, which input can't forge, without secrets.

In the text format indented lines, such as a traceback, belong to the line before. In the JSON format a line is an
object with `time`, `level`, `logger`, `message`, and where they apply `event`, `job`, `attempt`, `user`, `request_id`,
`exception`, and the fields of the event.
"""

import json
import logging
import re
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Literal

LogFormat = Literal["text", "json"]

MAX_MESSAGE_CHARACTERS: Final = 4_096
MAX_TRACE_CHARACTERS: Final = 32_768

logger = logging.getLogger("framehook")

# Control characters, line and paragraph separators, characters that change the text direction, lone surrogates.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_SECRETS = (
    (re.compile(r"eyJ[\w-]{8,}\.[\w-]*\.?[\w-]*"), "[token]"),
    (re.compile(r"fh_[0-9A-Za-z]{38}"), "fh_[secret]"),
    (re.compile(r"(whsec_|whsk_)[\w+/=-]+"), r"\1[secret]"),
    (re.compile(r"(://[^/?#\s:@]*:)[^/?#\s@]+@"), r"\1[secret]@"),
    (re.compile(r"(?i)\b(bearer )[\w.~+/=-]+"), r"\1[token]"),
    (
        re.compile(
            r"(?i)((?:token|ticket|secret|password|signature|credential|access_?key(?:_?id)?)=)[^&\s\"']+"
        ),
        r"\1[secret]",
    ),
)


def sanitize_line(text: str) -> str:
    """Return `text` as one printable line without tokens, signatures or passwords."""
    return _UNSAFE.sub(_escape, mask_secrets(text))


def mask_secrets(text: str) -> str:
    """Replace each secret in `text` that is known by its form or name with a placeholder."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def _escape(match: re.Match[str]) -> str:
    number = ord(match[0])
    return {10: "\\n", 13: "\\r", 9: "\\t"}.get(number) or (
        f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"  # noqa: PLR2004
    )


class LineFormatter(logging.Formatter):
    """Base of both formats: a record's message, shortened, and its traceback.

    `show_user` returns how the id of a user is written, or None to leave it out.
    """

    show_user: Callable[[str], str | None] = staticmethod(lambda user: user)

    def message_text(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        if len(message) > MAX_MESSAGE_CHARACTERS:
            message = message[:MAX_MESSAGE_CHARACTERS] + "…"
        return mask_secrets(message.rstrip("\n"))

    def trace_text(self, record: logging.LogRecord) -> str:
        """Return the traceback, or its end if it is long; empty without one."""
        trace = record.exc_text or (self.formatException(record.exc_info) if record.exc_info else "")
        if record.stack_info:
            trace = f"{trace}\n{record.stack_info}".strip()
        return mask_secrets(trace[-MAX_TRACE_CHARACTERS:])


class TextFormatter(LineFormatter):
    """Formats a record as a line of text; its traceback follows, indented."""

    def format(self, record: logging.LogRecord) -> str:
        name = f"{record.name} {job}" if (job := _attempt_label(record)) else record.name
        line = f"{self.formatTime(record)} {record.levelname:<7} {sanitize_line(name)}: "
        line += sanitize_line(self.message_text(record))
        return "\n    ".join([line, *(sanitize_line(part) for part in self.trace_text(record).splitlines())])


class JsonFormatter(LineFormatter):
    """Formats a record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": getattr(record, "event", None),
            "message": sanitize_line(self.message_text(record)),
            "job": getattr(record, "job", None),
            "attempt": getattr(record, "attempt", None),
            "user": self.show_user(user) if (user := getattr(record, "user", None)) else None,
            "request_id": getattr(record, "request_id", None),
        }
        fields = {name: value for name, value in fields.items() if value is not None}
        details: Mapping[str, object] = getattr(record, "fields", {})
        fields |= {name: _sanitize_value(details[name]) for name in details if name not in fields}
        if trace := self.trace_text(record):
            fields["exception"] = "\n".join(sanitize_line(part) for part in trace.splitlines())
        line = json.dumps(fields, ensure_ascii=False, default=str)
        return _UNSAFE.sub(
            lambda match: f"\\u{ord(match[0]):04x}", line
        )  # escapes also what other fields contain; all are strings


def _sanitize_value(value: object) -> object:
    return sanitize_line(value) if isinstance(value, str) else value


def _attempt_label(record: logging.LogRecord) -> str:
    job, attempt = getattr(record, "job", None), getattr(record, "attempt", None)
    return "" if job is None else f"[{job}]" if attempt is None else f"[{job} attempt {attempt}]"


def log_to_stderr(log_format: str, level: int = logging.INFO) -> None:
    """Send log records, warnings and uncaught exceptions of this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_uncaught
    sys.unraisablehook = _log_unraisable
    threading.excepthook = _log_thread


def add_attempt_fields(job_id: str, attempt: int, request_id: str | None = None) -> None:
    """Add the job, the attempt, and the request behind them to every further record of this process."""
    fields = {"job": job_id, "attempt": attempt} | ({"request_id": request_id} if request_id else {})

    def add_attempt(record: logging.LogRecord) -> bool:
        record.__dict__.update(fields)
        return True

    for handler in logging.getLogger().handlers:
        handler.addFilter(add_attempt)


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        logger.error("interrupted")
        return
    logger.critical("ended by an uncaught error", exc_info=(kind, error, trace))


def _log_unraisable(args: "sys.UnraisableHookArgs") -> None:
    error = args.exc_value
    logger.error(
        "an error could not be raised: %s", args.err_msg or "", exc_info=error if error is not None else None
    )


def _log_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is SystemExit or args.exc_value is None:
        return
    logger.error("a thread ended by an uncaught error", exc_info=args.exc_value)
