"""Tests of the backoff and of the Retry-After header."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callbacks.retry import backoff_seconds, parse_retry_after

NOW = 1_445_412_470.0  # Wed, 21 Oct 2015 07:27:50 GMT
ALMOST_ONE = 1 - 2**-53


@pytest.mark.parametrize(
    ("attempt", "ceiling"), [(1, 0.5), (2, 1), (3, 2), (6, 16), (7, 30), (8, 30), (10**9, 30)]
)
def test_backoff_doubles_up_to_a_cap_with_full_jitter(attempt: int, ceiling: float) -> None:
    assert backoff_seconds(attempt, lambda: 0) == 0
    assert backoff_seconds(attempt, lambda: 0.5) == ceiling / 2
    assert backoff_seconds(attempt, lambda: ALMOST_ONE) == pytest.approx(ceiling)


@pytest.mark.parametrize("attempt", [0, -1])
def test_attempts_count_from_one(attempt: int) -> None:
    with pytest.raises(ValueError, match="count from 1"):
        backoff_seconds(attempt, lambda: 0)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        pytest.param(None, None, id="absent"),
        pytest.param("0", 0, id="zero"),
        pytest.param("7", 7, id="seconds"),
        pytest.param(" 7 ", 7, id="blanks around"),
        pytest.param("86400", 60, id="more than the bound"),
        pytest.param("9" * 64, 60, id="a huge number"),
        pytest.param("Wed, 21 Oct 2015 07:28:00 GMT", 10, id="IMF-fixdate"),
        pytest.param("Wednesday, 21-Oct-15 07:28:00 GMT", 10, id="RFC 850"),
        pytest.param("Wed Oct 21 07:28:00 2015", 10, id="asctime"),
        pytest.param("Wed, 21 Oct 2015 07:00:00 GMT", 0, id="the past"),
        pytest.param("Fri, 31 Dec 9999 23:59:59 GMT", 60, id="a far date"),
        pytest.param("Wed, 21 Oct 99999 07:28:00 GMT", None, id="an impossible year"),
        pytest.param("Wed, 32 Oct 2015 07:28:00 GMT", None, id="an impossible day"),
        pytest.param("", None, id="empty"),
        pytest.param("-1", None, id="negative"),
        pytest.param("1.5", None, id="a fraction"),
        pytest.param("inf", None, id="infinity"),
        pytest.param("\u0667", None, id="other digits"),
        pytest.param("1" * 65, None, id="too long"),
        pytest.param("0\x1f", None, id="a control character"),
        pytest.param("soon", None, id="a word"),
    ],
)
def test_retry_after_is_read_in_both_forms_and_bounded(header: str | None, expected: float | None) -> None:
    assert parse_retry_after(header, now=NOW, max_seconds=60) == expected


words = st.sampled_from(["Wed,", " ", "21", "Oct", "2015", "07:28:00", "GMT", "-", ":", "+9999", "99", "\0"])


@given(st.text() | st.text(st.characters(codec="ascii")) | st.lists(words).map(" ".join))
def test_garbage_in_retry_after_is_ignored(header: str) -> None:
    delay = parse_retry_after(header, now=NOW, max_seconds=60)
    assert delay is None or 0 <= delay <= 60
