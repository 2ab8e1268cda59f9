"""Every record is one line, which input can't forge and which contains no secret."""

import json
import logging
import subprocess
import sys
import unicodedata

import pytest

from callbacks.log_format import JsonFormatter, TextFormatter

FORGED = "GET /a\r\n2026-01-01 ERROR framehook: forged\x1b[31m\x85\u2028\u202e\x00\x7f\ud800 b"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl"
RAISED = """
import logging, sys, threading, warnings
from callbacks.log_format import add_attempt_fields, log_to_stderr
log_to_stderr("json")
add_attempt_fields("job-1", 2)
{code}
"""


def record(message: str, **fields: object) -> logging.LogRecord:
    return logging.makeLogRecord(
        {"name": "framehook.access", "msg": message, "levelname": "INFO", "levelno": 20} | fields
    )


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()], ids=["text", "json"])
def test_nothing_from_outside_makes_a_line_of_its_own(formatter: logging.Formatter) -> None:
    error = ValueError(FORGED)
    line = formatter.format(record(FORGED, name=f"a{FORGED}", exc_info=(ValueError, error, None)))
    [first, *trace] = line.split("\n")
    assert "framehook: forged" in first
    assert all(part.startswith("    ") for part in trace)
    for character in "".join([first, *trace]):
        assert unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp"), repr(character)


def test_a_json_line_is_one_object_with_the_traceback_as_a_field() -> None:
    try:
        int(FORGED)
    except ValueError:
        line = JsonFormatter().format(record(FORGED, exc_info=sys.exc_info(), job="j", attempt=1))
    shown = json.loads(line)
    assert "\n" not in line
    assert list(shown) == ["time", "level", "logger", "message", "job", "attempt", "exception"]
    assert shown["exception"].splitlines()[0] == "Traceback (most recent call last):"
    assert "\x1b" not in shown["message"] + shown["exception"]


@pytest.mark.parametrize(
    "text",
    [
        f"GET /api/uploads/{TOKEN} 200",
        f"GET /api/files/a.mp4?token={TOKEN}",
        "GET /api/files/a%3Ftoken=hunter2",
        "WS /ws/exports?ticket=hunter2&x=1",
        "https://r2.example/a?X-Amz-Credential=hunter2&X-Amz-Signature=hunter2",
        "could not reach postgresql://framehook:hunter2@db.example:5432/framehook",
        "Authorization: Bearer hunter2",
        "secret whsec_hunter2+/abc=",
    ],
)
@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()], ids=["text", "json"])
def test_tokens_tickets_signatures_and_passwords_are_not_logged(
    formatter: logging.Formatter, text: str
) -> None:
    error = ValueError(text)
    line = formatter.format(record(text, exc_info=(ValueError, error, None)))
    assert "hunter2" not in line
    assert "eyJ" not in line


@pytest.mark.parametrize("text", ["a plain sentence", "GET /api/exports 200 3 ms", "user=ada", "Größe 決勝"])
def test_what_is_harmless_is_logged_as_it_is(text: str) -> None:
    assert TextFormatter().format(record(text)).endswith(f": {text}")
    assert json.loads(JsonFormatter().format(record(text)))["message"] == text


def test_a_line_has_an_end() -> None:
    assert len(TextFormatter().format(record("x" * 1_000_000))) < 5_000


@pytest.mark.parametrize(
    ("code", "level", "said"),
    [
        ("raise ValueError('x\\ny')", "critical", "uncaught error"),
        ("raise KeyboardInterrupt", "error", "interrupted"),
        ("threading.Thread(target=lambda: 1 / 0).start()", "error", "a thread ended"),
        ("warnings.warn('mind this')", "warning", "mind this"),
        ("logging.getLogger('other').error('%s', 'odd')", "error", "odd"),
        (
            "class A:\n    def __del__(self): raise ValueError\nA()",
            "error",
            "could not be raised",
        ),
    ],
    ids=["an exception", "an interrupt", "a thread", "a warning", "a record", "a finalizer"],
)
def test_whatever_a_process_has_to_say_is_a_line_with_its_attempt(code: str, level: str, said: str) -> None:
    child = subprocess.run(
        [sys.executable, "-c", RAISED.format(code=code)], stderr=subprocess.PIPE, text=True, check=False
    )
    [line] = child.stderr.splitlines()
    shown = json.loads(line)
    assert (shown["level"], shown["job"], shown["attempt"]) == (level, "job-1", 2)
    assert said in shown["message"]
