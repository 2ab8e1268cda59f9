"""Bodies are decoded strictly, and an encoded body decodes to the same callback."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callbacks.envelope import (
    MAX_BODY_BYTES,
    MAX_TEXT_CHARACTERS,
    Callback,
    EventType,
    Failure,
    Output,
    Phase,
    Report,
    decode,
    encode,
    format_rfc3339,
)

Body = dict[str, Any]
REPORT: Body = {
    "job_id": "job-1",
    "attempt": 1,
    "step": 3,
    "call_id": "fc-1",
    "phase": "processing",
    "progress": 12.5,
    "message": "Frame 30 of 240",
}
OUTPUT: Body = {"size": 9, "checksum": "sha256:" + "0" * 64, "duration": 1.5, "width": 640, "height": 360}
FAILURE: Body = {"code": "no_space", "message": "The disk is full."}


def body(kind: str = "export.progress", *, envelope: Body | None = None, **changes: object) -> bytes:
    """Encode a body that is valid except for the changes to its report and envelope."""
    whole = {"type": kind, "timestamp": "2026-01-02T03:04:05Z", "data": REPORT | changes}
    return msgspec.json.encode(whole | (envelope or {}))


def completion_body(**changes: object) -> bytes:
    return body("export.completed", output=OUTPUT | changes)


def failure_body(**changes: object) -> bytes:
    return body("export.failed", error=FAILURE | changes)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(body(), id="progress"),
        pytest.param(body("export.started", phase="starting", progress=0), id="started"),
        pytest.param(body(eta_seconds=3, gpu_seconds=0.5), id="with times"),
        pytest.param(completion_body(), id="completed"),
        pytest.param(failure_body(transient=True), id="failed"),
        pytest.param(body(envelope={"timestamp": "2026-01-02T05:04:05.123456+02:00"}), id="another zone"),
    ],
)
def test_a_valid_body_survives_the_round_trip(raw: bytes) -> None:
    assert decode(encode(decode(raw))) == decode(raw)


def number(name: str, literal: bytes) -> bytes:
    """Encode a body with a JSON literal that no encoder writes."""
    changes: Body = {name: "?"}
    return body(**changes).replace(b'"?"', literal)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[" * 60_000, id="deep nesting"),
        pytest.param(b"\xff", id="not UTF-8"),
        pytest.param(body().replace(b"Frame", b"\xff\xfe"), id="a string that is not UTF-8"),
        pytest.param(body().replace(b"Frame", b"\\ud800"), id="a lone surrogate"),
        pytest.param(body() + b"{}", id="trailing data"),
        pytest.param(body("export.lost"), id="unknown type"),
        pytest.param(body("export.cancelled"), id="cancelled by a function"),
        pytest.param(body(phase="dreaming"), id="unknown phase"),
        pytest.param(body(envelope={"timestamp": "2026-01-02T03:04:05"}), id="time without a zone"),
        pytest.param(body(envelope={"timestamp": 1_790_000_000}), id="time as a number"),
        pytest.param(body(envelope={"timestamp": "yesterday"}), id="time as a word"),
        pytest.param(body(attempt=True), id="bool for int"),
        pytest.param(body(progress=True), id="bool for float"),
        pytest.param(body(step=1.0), id="float for int"),
        pytest.param(body(step="1"), id="str for int"),
        pytest.param(body(step=0), id="step 0"),
        pytest.param(body(step=2**31), id="step beyond 31 bits"),
        pytest.param(body(message=None), id="null message"),
        pytest.param(body(message="a\0b"), id="NUL in the message, which PostgreSQL can't hold"),
        pytest.param(body(message="x" * (MAX_TEXT_CHARACTERS + 1)), id="long message"),
        pytest.param(body(job_id=""), id="empty job"),
        pytest.param(body(job_id="j" * 201), id="long job"),
        pytest.param(body(call_id="fc\0"), id="NUL in the call"),
        pytest.param(body(call_id="fc 1"), id="blank in the call"),
        pytest.param(body(call_id="fc-1\n"), id="newline after the call"),
        pytest.param(body(progress=-0.1), id="below 0 percent"),
        pytest.param(body(progress=100.1), id="above 100 percent"),
        pytest.param(number("progress", b"NaN"), id="NaN"),
        pytest.param(number("eta_seconds", b"Infinity"), id="Infinity"),
        pytest.param(number("eta_seconds", b"1e999"), id="a number beyond floats"),
        pytest.param(body(eta_seconds=-1), id="negative time"),
        pytest.param(body("export.completed"), id="completed without output"),
        pytest.param(body(output=OUTPUT), id="progress with output"),
        pytest.param(body("export.failed", output=OUTPUT, error=FAILURE), id="failed with output"),
        pytest.param(body("export.failed"), id="failed without error"),
        pytest.param(body("export.completed", output=OUTPUT, error=FAILURE), id="completed with error"),
        pytest.param(completion_body(size=0), id="empty output"),
        pytest.param(completion_body(checksum="sha256:" + "A" * 64), id="upper-case checksum"),
        pytest.param(completion_body(checksum=f"sha256:{'0' * 64}\n"), id="newline after the checksum"),
        pytest.param(completion_body(width=-1), id="negative width"),
        pytest.param(failure_body(code="Not A Code"), id="error code with blanks"),
        pytest.param(failure_body(code="code\n"), id="newline after the error code"),
        pytest.param(failure_body(message="a\0b"), id="NUL in the error"),
    ],
)
def test_a_wrong_body_is_a_decode_error(raw: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(raw)


@given(
    st.binary()
    | st.tuples(st.integers(0, 220), st.binary(max_size=4)).map(
        lambda cut: body()[: cut[0]] + cut[1] + body()[cut[0] + 1 :]
    )
)
def test_hostile_bodies_are_decoded_or_are_decode_errors(raw: bytes) -> None:
    with suppress(msgspec.DecodeError):
        assert decode(encode(decode(raw))) == decode(raw)


def test_the_longest_valid_callback_fits_into_a_body() -> None:
    text, name, count = "\x01" * MAX_TEXT_CHARACTERS, "n" * 200, 2**31 - 1  # \u0001: six bytes
    longest = Callback(
        type=EventType.FAILED,
        timestamp=datetime(2026, 1, 2, tzinfo=UTC),
        data=Report(
            job_id=name, attempt=count, step=count, call_id=name, phase=Phase.DOWNLOADING, progress=0.1,
            message=text, eta_seconds=0.1e-300, gpu_seconds=0.1e-300, error=Failure(code="c" * 64, message=text),
        ),
    )  # fmt: skip
    assert decode(encode(longest)) == longest
    assert len(encode(longest)) < MAX_BODY_BYTES


def test_output_is_decoded_as_it_was_sent() -> None:
    assert decode(completion_body()).data.output == Output(**OUTPUT)


def test_times_are_written_in_utc_with_milliseconds() -> None:
    assert (
        format_rfc3339(datetime.fromisoformat("2026-01-02T05:04:05.123456+02:00"))
        == "2026-01-02T03:04:05.123Z"
    )


def test_only_what_ends_an_attempt_is_terminal() -> None:
    ends = {kind for kind in EventType if kind.is_terminal}
    assert ends == {EventType.COMPLETED, EventType.FAILED, EventType.CANCELLED}


@pytest.mark.parametrize(
    ("raw", "known"),
    [
        pytest.param(body(envelope={"later": 1}), body(), id="in the envelope"),
        pytest.param(body(later={"a": [1]}), body(), id="in the report"),
        pytest.param(completion_body(later=1), completion_body(), id="in the output"),
        pytest.param(failure_body(later=1), failure_body(), id="in the error"),
    ],
)
def test_what_a_later_run_reports_in_addition_is_ignored(raw: bytes, known: bytes) -> None:
    assert decode(raw) == decode(known)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        pytest.param("export.started", {"phase": "starting", "progress": 0}, id="started"),
        pytest.param("export.progress", {"phase": "processing", "progress": 50}, id="progress"),
        pytest.param(
            "export.completed", {"phase": "done", "progress": 100, "output": OUTPUT}, id="completed"
        ),
        pytest.param(
            "export.failed",
            {
                "phase": "processing",
                "progress": 50,
                "error": {"code": "no_video_stream", "message": "No video."},
            },
            id="failed",
        ),
    ],
)
def test_runs_may_report_as_the_first_release_did(kind: str, fields: Body) -> None:
    """A field that is added later needs a default: runs that started before an upgrade do not send it."""
    report = {"job_id": "job-1", "attempt": 1, "step": 1, "call_id": "fc-1", "message": ""} | fields
    moment = "2026-01-02T03:04:05.000Z"
    decode(msgspec.json.encode({"type": kind, "timestamp": moment, "data": report}))
