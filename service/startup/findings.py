"""What a check has found: fine, odd or wrong, with a sentence that says what to do."""

from collections.abc import Iterable
from enum import StrEnum

import msgspec

from service.startup.errors import StartError
from service.startup.statuses import CONFIGURATION_STATUS, TRY_AGAIN_STATUS


class Level(StrEnum):
    """How bad it is: only what fails keeps the service from working."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(msgspec.Struct, frozen=True):
    """One line of a report: what was checked, how it is, and what to do; `is_temporary` if it may pass by itself."""

    check: str
    level: Level
    message: str
    is_temporary: bool = False


def ok(check: str, message: str) -> Finding:
    """Return that something is fine."""
    return Finding(check, Level.OK, message)


def warn(check: str, message: str) -> Finding:
    """Return that something works, but should be looked at."""
    return Finding(check, Level.WARN, message)


def fail(check: str, message: str, *, is_temporary: bool = False) -> Finding:
    """Return that something keeps the service from working."""
    return Finding(check, Level.FAIL, message, is_temporary)


def finding_from(check: str, error: StartError) -> Finding:
    """Return what prevents the start."""
    return fail(check, str(error), is_temporary=error.status == TRY_AGAIN_STATUS)


def start_status(findings: Iterable[Finding]) -> int:
    """Return the exit status of a start with these findings: 0, 75 if a later one may succeed, else 78."""
    failures = [finding for finding in findings if finding.level is Level.FAIL]
    if not failures:
        return 0
    return TRY_AGAIN_STATUS if all(finding.is_temporary for finding in failures) else CONFIGURATION_STATUS
