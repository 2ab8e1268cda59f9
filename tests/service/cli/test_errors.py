"""Each kind of error has one exit status."""

import errno
import os
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from framehook import (
    Conflict,
    CorruptTransfer,
    FramehookError,
    Gone,
    NotFound,
    QuotaExceeded,
    Unauthenticated,
    Unavailable,
    UnexpectedResponse,
    Unreachable,
)
from service.cli import entry
from service.cli.errors import CommandFailed, describe_error, print_errors
from tests.service.cli.commands import run

ERRORS: dict[BaseException, int] = {
    CorruptTransfer("the checksum is wrong"): 1,
    CommandFailed("`modal deploy` failed"): 1,
    OSError(errno.ENOSPC, "No space left on device"): 1,
    FramehookError("file match.mp4 does not exist"): 2,
    FileNotFoundError(errno.ENOENT, "No such file or directory", "crop.json"): 2,
    NotFound(404, "The export does not exist.", code="not_found"): 3,
    Gone(410, "The export was erased.", code="erased"): 3,
    Conflict(409, "The export has ended.", code="conflict"): 4,
    QuotaExceeded(429, "You have too many exports.", code="quota_exceeded"): 4,
    Unauthenticated(401, "The token is missing.", code="unauthenticated"): 4,
    Unreachable("http://127.0.0.1:9 can't be reached"): 5,
    Unavailable(503, "The service is restarting."): 5,
    UnexpectedResponse("the server is not Framehook"): 5,
    NotFound(404, "the service answered 404 Not Found; check that its URL is right"): 5,
    KeyboardInterrupt(): 130,
}


@pytest.mark.parametrize(("error", "status"), ERRORS.items(), ids=lambda value: type(value).__name__)
def test_an_error_has_a_status_of_its_kind(
    error: BaseException, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Exception) as exit_, print_errors():  # noqa: PT011 - typer's Exit has no other base
        raise error
    assert exit_.value.exit_code == status  # type: ignore[attr-defined]
    assert capsys.readouterr().err.startswith("framehook: ")


def test_a_failure_of_the_service_names_the_request_and_a_refusal_does_not() -> None:
    failure = Unavailable(500, "The service has failed.", request_id="request-1")
    assert describe_error(failure).endswith("request_id request-1")
    for error in (
        Unavailable(503, "The service is restarting."),
        NotFound(404, "The export does not exist.", code="not_found", request_id="request-1"),
    ):
        assert describe_error(error) == str(error)


def test_words_that_no_command_has_are_wrong_usage() -> None:
    for words in (
        ("nonsense",),
        ("list", "--nonsense"),
        ("list", "--limit", "0"),
        ("show",),
        ("watch", "a", "b"),
    ):
        result = run(*words)
        assert (result.status, result.out) == (2, ""), words
        assert "Error: " in result.err


@pytest.mark.parametrize(
    ("words", "output", "status", "sentence"),
    [
        pytest.param(["types"], "/dev/full", 1, "no space left on device", id="a full disk"),
        pytest.param(["show", "\udcff"], os.devnull, 2, "not UTF-8", id="an argument that is no text"),
        pytest.param(["types"], None, 0, "", id="no standard output"),
    ],
)
def test_what_is_wrong_with_the_terminal_is_a_sentence(
    words: list[str],
    output: str | None,
    status: int,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["framehook", *words])
    stream = output and Path(output).open("w", encoding="utf-8")  # noqa: SIM115 - a full disk fails its end, too
    monkeypatch.setattr(sys, "stdout", stream)
    with pytest.raises(SystemExit) as exit_:
        entry.run()
    with suppress(OSError):
        sys.stdout.close()
    assert (exit_.value.code or 0) == status
    assert sentence in capsys.readouterr().err
