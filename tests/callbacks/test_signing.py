"""Signatures, compared with the published vector and with other implementations."""

import base64
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
import standardwebhooks
import svix.webhooks
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from callbacks.signing import (
    VerificationFailed,
    decode_secret,
    derive_attempt_key,
    encode_secret,
    sign,
    signature_headers,
    verify,
)

NOW = 1_790_000_000
KEY = bytes(range(32))
OTHER = bytes(range(1, 33))
BODY = '{"type":"export.progress","message":"жираф"}'.encode()
ORACLES = [
    pytest.param(standardwebhooks.Webhook, id="standardwebhooks"),
    pytest.param(svix.webhooks.Webhook, id="svix"),
]
Oracle = type[standardwebhooks.Webhook] | type[svix.webhooks.Webhook]


def headers(**changes: str) -> dict[str, str]:
    """Well-signed headers for BODY, with some of them replaced."""
    replaced = {f"webhook-{name}": value for name, value in changes.items()}
    return signature_headers(KEY, "msg_1", NOW, BODY) | replaced


def refusal(sent: Mapping[str, str], body: bytes = BODY, *, now: float = NOW) -> str:
    with pytest.raises(VerificationFailed) as refused:
        verify([KEY], sent, body, now=now)
    assert str(refused.value) == refused.value.reason
    return refused.value.reason


def test_the_published_vector_of_standard_webhooks() -> None:
    key = decode_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signature = sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("oracle", ORACLES)
def test_what_is_signed_here_verifies_there(oracle: Oracle) -> None:
    sent = signature_headers(KEY, "msg_1", int(time.time()), BODY)
    oracle(encode_secret(KEY)).verify(BODY, sent)


@pytest.mark.parametrize("oracle", ORACLES)
def test_what_is_signed_there_verifies_here(oracle: Oracle) -> None:
    signature = oracle(KEY).sign("msg_1", datetime.fromtimestamp(NOW, UTC), BODY.decode())
    assert verify([KEY], headers(signature=signature), BODY, now=NOW) == "msg_1"


@given(key=st.binary(min_size=24, max_size=64), document=st.dictionaries(st.text(), st.text()))
def test_any_key_and_body_agree_with_the_oracle(key: bytes, document: dict[str, str]) -> None:
    body = json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")
    theirs = standardwebhooks.Webhook(key).sign("id", datetime.fromtimestamp(NOW, UTC), body.decode())
    assert sign(key, "id", NOW, body) == theirs


@given(master=st.binary(max_size=100), job_id=st.text(st.characters(codec="utf-8")), attempt=st.integers(0))
def test_attempt_keys_are_hkdf(master: bytes, job_id: str, attempt: int) -> None:
    oracle = HKDF(algorithm=SHA256(), length=32, salt=None, info=f"{job_id}:{attempt}".encode())
    assert derive_attempt_key(master, job_id, attempt) == oracle.derive(master)


@pytest.mark.parametrize(
    ("master", "job_id", "attempt"),
    [
        pytest.param(b"master", "job", 2, id="another attempt"),
        pytest.param(b"master", "job2", 1, id="another job"),
        pytest.param(b"master2", "job", 1, id="another master"),
        pytest.param(b"master", "job:1", 1, id="a job named like a job and its attempt"),
        pytest.param(b"master", "\ud800", 1, id="a lone surrogate"),
    ],
)
def test_keys_are_separate(master: bytes, job_id: str, attempt: int) -> None:
    sent = signature_headers(derive_attempt_key(b"master", "job", 1), "msg_1", NOW, BODY)
    with pytest.raises(VerificationFailed, match="no signature matches"):
        verify([derive_attempt_key(master, job_id, attempt)], sent, BODY, now=NOW)


def test_either_of_two_masters_is_valid_while_rotating() -> None:
    assert verify([OTHER, KEY], headers(), BODY, now=NOW) == "msg_1"
    assert verify([KEY, OTHER], headers(), BODY, now=NOW) == "msg_1"


def test_either_of_two_signatures_is_enough() -> None:
    both = f"{sign(OTHER, 'msg_1', NOW, BODY)} {sign(KEY, 'msg_1', NOW, BODY)}"
    assert verify([KEY], headers(signature=both), BODY, now=NOW) == "msg_1"


def test_unknown_versions_are_skipped() -> None:
    mixed = f"v1a,AAAA v2 , v1 v0,x {sign(KEY, 'msg_1', NOW, BODY)}"
    assert verify([KEY], headers(signature=mixed), BODY, now=NOW) == "msg_1"


GOOD = headers()["webhook-signature"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"id": "msg_2"}, "no signature matches", id="another id"),
        pytest.param({"id": ""}, "malformed webhook-id", id="empty id"),
        pytest.param({"id": "a.b"}, "malformed webhook-id", id="id with a dot"),
        pytest.param({"id": "a b"}, "malformed webhook-id", id="id with a space"),
        pytest.param({"id": "a\n"}, "malformed webhook-id", id="id with a newline"),
        pytest.param({"id": "é"}, "malformed webhook-id", id="id beyond ASCII"),
        pytest.param({"id": "x" * 257}, "malformed webhook-id", id="long id"),
        pytest.param({"timestamp": str(NOW + 1)}, "no signature matches", id="another time"),
        pytest.param({"timestamp": f"{NOW}.0"}, "malformed webhook-timestamp", id="a fraction"),
        pytest.param({"timestamp": f"0{NOW}"}, "malformed webhook-timestamp", id="a leading zero"),
        pytest.param({"timestamp": f"+{NOW}"}, "malformed webhook-timestamp", id="a sign"),
        pytest.param({"timestamp": f"{NOW}\n"}, "malformed webhook-timestamp", id="a newline"),
        pytest.param({"timestamp": "1_790_000_000"}, "malformed webhook-timestamp", id="underscores"),
        pytest.param({"timestamp": "١٧٩٠٠٠٠٠٠٠"}, "malformed webhook-timestamp", id="other digits"),
        pytest.param({"timestamp": "nan"}, "malformed webhook-timestamp", id="not a number"),
        pytest.param({"timestamp": "9" * 5_000}, "malformed webhook-timestamp", id="a huge number"),
        pytest.param({"timestamp": "9" * 15}, "webhook-timestamp too new", id="a far future"),
        pytest.param({"timestamp": "0"}, "webhook-timestamp too old", id="1970"),
        pytest.param({"signature": ""}, "no signature matches", id="no signature"),
        pytest.param({"signature": GOOD.removeprefix("v1,")}, "no signature matches", id="no version"),
        pytest.param({"signature": "v2" + GOOD[2:]}, "no signature matches", id="another version"),
        pytest.param({"signature": GOOD.upper()}, "no signature matches", id="another case"),
        pytest.param({"signature": GOOD.rstrip("=")}, "no signature matches", id="no padding"),
        pytest.param({"signature": GOOD + "="}, "no signature matches", id="more padding"),
        pytest.param({"signature": GOOD + "\n"}, "no signature matches", id="a trailing newline"),
        pytest.param({"signature": GOOD[:-1]}, "no signature matches", id="cut short"),
        pytest.param({"signature": GOOD + "é"}, "malformed webhook-signature", id="beyond ASCII"),
        pytest.param({"signature": f"{GOOD} " * 60}, "malformed webhook-signature", id="too many"),
    ],
)
def test_tampered_headers_are_refused(changes: dict[str, str], reason: str) -> None:
    assert reason == refusal(headers(**changes))


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_refused(name: str) -> None:
    sent = headers()
    del sent[name]
    assert refusal(sent) == "a signature header is missing"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(BODY + b" ", id="longer"),
        pytest.param(BODY[:-1], id="shorter"),
        pytest.param(b"\xff" + BODY, id="not UTF-8"),
    ],
)
def test_another_body_is_refused(body: bytes) -> None:
    assert refusal(headers(), body) == "no signature matches"


def test_the_same_value_in_other_base64_is_refused() -> None:
    """32 bytes leave two spare bits in the last character; only zeros there are canonical."""
    twin = GOOD[:-2] + chr(ord(GOOD[-2]) + 1) + "="
    assert base64.b64decode(twin[3:]) == base64.b64decode(GOOD[3:])
    assert refusal(headers(signature=twin)) == "no signature matches"


@pytest.mark.parametrize("offset", [-300, 300])
def test_five_minutes_either_way_is_accepted(offset: int) -> None:
    assert verify([KEY], headers(), BODY, now=NOW + offset) == "msg_1"


def test_more_than_five_minutes_is_refused() -> None:
    assert refusal(headers(), now=NOW + 301) == "webhook-timestamp too old"
    assert refusal(headers(), now=NOW - 301) == "webhook-timestamp too new"


@pytest.mark.parametrize("keys", [[], [b""], [b"short"], [bytes(65)]], ids=["none", "empty", "short", "long"])
def test_without_a_usable_key_everything_is_refused(keys: list[bytes]) -> None:
    with pytest.raises(VerificationFailed, match="no signature matches"):
        verify(keys, headers(), BODY, now=NOW)


values = st.text() | st.from_regex(r"v1a?,[A-Za-z0-9+/=]*", fullmatch=True) | st.integers().map(str)


@given(
    sent=st.dictionaries(
        st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]) | st.text(), values
    ),
    valid=st.sets(st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"])),
    body=st.binary() | st.just(BODY),
)
def test_hostile_requests_are_verified_or_refused(sent: dict[str, str], valid: set[str], body: bytes) -> None:
    mixed = sent | {name: value for name, value in headers().items() if name in valid}
    try:
        assert verify([KEY], mixed, body, now=NOW) == "msg_1"
    except VerificationFailed:
        assert mixed != headers() or body != BODY


@pytest.mark.parametrize(
    ("key", "message_id", "timestamp"),
    [
        pytest.param(b"short", "msg_1", NOW, id="a short key"),
        pytest.param(bytes(65), "msg_1", NOW, id="a long key"),
        pytest.param(KEY, "a.b", NOW, id="an id with a dot"),
        pytest.param(KEY, "msg_1", -1, id="a negative time"),
    ],
)
def test_nothing_unverifiable_is_signed(key: bytes, message_id: str, timestamp: int) -> None:
    with pytest.raises(ValueError, match=r"^a "):
        sign(key, message_id, timestamp, BODY)
