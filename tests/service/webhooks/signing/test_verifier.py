"""The diagnosis of messages that other libraries signed and receivers got wrong."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import standardwebhooks
import svix.webhooks
from hypothesis import given
from hypothesis import strategies as st

from callbacks.signing import encode_secret
from service.webhooks.ed25519 import private_key_from_seed, sign
from service.webhooks.verifier import Diagnosis, Keys, Mistake, SentMessage, diagnose

NOW = 1_790_000_000
KEY = bytes(range(32))
OLD = bytes(range(1, 33))
ELSEWHERE = bytes(range(2, 34))
SECRET = encode_secret(KEY)
PRIVATE = private_key_from_seed(bytes(32))
KEYS = Keys(KEY, previous=(OLD,), public=PRIVATE.public_key(), others=(ELSEWHERE,))
DOCUMENT = {
    "type": "export.completed",
    "data": {"progress": 100.0, "url": "https://a.test/b", "message": "жираф ü", "attempt": 1},
}
BODY = json.dumps(DOCUMENT, separators=(",", ":"), ensure_ascii=False).encode()


def sign_v1(key: bytes = KEY, body: bytes = BODY, message_id: str = "msg_1", timestamp: int = NOW) -> str:
    return standardwebhooks.Webhook(key).sign(
        message_id, datetime.fromtimestamp(timestamp, UTC), body.decode()
    )


def build_headers(signature: str | None = None, /, **changes: str) -> dict[str, str]:
    replaced = {f"webhook-{name}": value for name, value in changes.items()}
    values = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(NOW),
        "webhook-signature": signature or sign_v1(),
    }
    return values | replaced


def run_diagnosis(signature: str, body: bytes = BODY, *, sent: tuple[SentMessage, ...] = ()) -> Diagnosis:
    return diagnose(build_headers(signature), body, KEYS, now=NOW, sent=sent)


def compute_mac(
    key: bytes, content: bytes, hash_name: str = "sha256", write: Callable[[bytes], bytes] = base64.b64encode
) -> str:
    return write(hmac.digest(key, content, hash_name)).decode()


def build_content(body: bytes = BODY) -> bytes:
    return f"msg_1.{NOW}.".encode() + body


@pytest.mark.parametrize(
    "oracle", [standardwebhooks.Webhook, svix.webhooks.Webhook], ids=["standard", "svix"]
)
def test_messages_that_other_libraries_accept_are_valid(
    oracle: type[standardwebhooks.Webhook] | type[svix.webhooks.Webhook],
) -> None:
    now = int(time.time())
    signature = oracle(SECRET).sign("msg_1", datetime.fromtimestamp(now, UTC), BODY.decode())
    received = build_headers(f"v9,abc {sign_v1(OLD)} {signature}", timestamp=str(now))
    oracle(SECRET).verify(BODY, received)
    diagnosis = diagnose({name.upper(): value for name, value in received.items()}, BODY, KEYS, now=now + 2.2)
    assert diagnosis == Diagnosis(True, None, "The message is valid.", clock_off_seconds=2)


def test_an_ed25519_signature_alone_is_valid() -> None:
    assert run_diagnosis(sign(PRIVATE, "msg_1", NOW, BODY)).valid
    strange = sign(private_key_from_seed(KEY), "msg_1", NOW, BODY)
    for other in (sign_v1(bytes(24)), sign_v1(OLD), strange):
        assert run_diagnosis(f"{other} {sign(PRIVATE, 'msg_1', NOW, BODY)}").valid


@pytest.mark.parametrize(
    ("changes", "mistake", "header", "says"),
    [
        pytest.param({"id": ""}, "header_missing", "id", "is missing", id="no id"),
        pytest.param({"timestamp": ""}, "header_missing", "timestamp", "is missing", id="no time"),
        pytest.param({"signature": ""}, "header_missing", "signature", "is missing", id="no signature"),
        pytest.param({"id": "a b"}, "header_malformed", "id", "without space", id="an id with a space"),
        pytest.param({"id": "a.b"}, "header_malformed", "id", "and dot", id="an id with a dot"),
        pytest.param({"id": "msg_1\n"}, "header_malformed", "id", "line breaks around", id="a line end"),
        pytest.param({"timestamp": f" {NOW}"}, "header_malformed", "timestamp", "spaces", id="a space"),
        pytest.param({"timestamp": f"{NOW}000"}, "header_malformed", "timestamp", "milli", id="milliseconds"),
        pytest.param({"timestamp": f"{NOW}.0"}, "header_malformed", "timestamp", "whole", id="a fraction"),
        pytest.param({"timestamp": "2026-09-21"}, "header_malformed", "timestamp", "whole", id="a date"),
        pytest.param({"timestamp": "9" * 400}, "header_malformed", "timestamp", "whole", id="a long number"),
        pytest.param({"timestamp": "٣"}, "header_malformed", "timestamp", "whole", id="other digits"),
        pytest.param({"signature": "abc"}, "header_malformed", "signature", "no signature", id="no version"),
        pytest.param({"signature": "v1,"}, "header_malformed", "signature", "no signature", id="empty"),
        pytest.param({"signature": "v1,a!"}, "header_malformed", "signature", "32 bytes", id="no base64"),
        pytest.param({"signature": "v1,abcd"}, "header_malformed", "signature", "32 bytes", id="short"),
        pytest.param({"signature": "v1,é"}, "header_malformed", "signature", "32 bytes", id="beyond ASCII"),
        pytest.param(
            {"signature": "v2,abc v3x,d"}, "other_version", "signature", "v2, v3x only", id="versions"
        ),
    ],
)
def test_headers_are_named_that_are_missing_or_malformed(
    changes: dict[str, str], mistake: str, header: str, says: str
) -> None:
    diagnosis = diagnose(build_headers(**changes), BODY, KEYS, now=NOW)
    assert (diagnosis.valid, diagnosis.problem, diagnosis.header) == (False, mistake, f"webhook-{header}")
    assert says in diagnosis.detail


def test_an_absent_header_is_reported_as_missing() -> None:
    assert diagnose({}, BODY, KEYS, now=NOW).problem == Mistake.HEADER_MISSING


def test_an_ed25519_signature_needs_a_public_key() -> None:
    diagnosis = diagnose(build_headers(sign(PRIVATE, "msg_1", NOW, BODY)), BODY, Keys(KEY), now=NOW)
    assert (diagnosis.problem, diagnosis.valid) == ("other_version", False)


@pytest.mark.parametrize(
    ("off", "valid", "says"),
    [
        (300, True, "valid"),
        (-300, True, "valid"),
        (301, False, "301 s behind"),
        (-3600, False, "3600 s ahead of"),
    ],
)
def test_clocks_may_differ_by_five_minutes(off: int, valid: bool, says: str) -> None:
    diagnosis = diagnose(build_headers(), BODY, KEYS, now=NOW + off)
    assert (diagnosis.valid, diagnosis.problem, diagnosis.clock_off_seconds) == (
        valid, None if valid else Mistake.CLOCK_OFF, off,
    )  # fmt: skip
    assert says in diagnosis.detail


@pytest.mark.parametrize(
    ("signature", "mistakes"),
    [
        pytest.param(sign_v1(OLD), ["old_key"], id="the old key"),
        pytest.param(sign_v1(ELSEWHERE), ["other_endpoint"], id="another endpoint's"),
        pytest.param(sign_v1(bytes(24)), ["wrong_secret"], id="a stranger's"),
        pytest.param(
            sign(private_key_from_seed(KEY), "msg_1", NOW, BODY), ["wrong_secret"], id="another ed25519 key"
        ),
        pytest.param(sign_v1(timestamp=NOW - 7), ["timestamp_changed"], id="another time"),
        pytest.param(
            sign_v1(OLD, timestamp=NOW + 300), ["old_key", "timestamp_changed"], id="old key and time"
        ),
        pytest.param(
            sign(PRIVATE, "msg_1", NOW + 1, BODY), ["timestamp_changed"], id="ed25519, another time"
        ),
        pytest.param(sign_v1(timestamp=NOW - 301), ["wrong_secret"], id="a time too far away"),
        pytest.param(sign_v1(message_id="msg_0"), ["id_changed"], id="another id"),
        pytest.param(sign(PRIVATE, "msg_0", NOW, BODY), ["id_changed"], id="ed25519, another id"),
        pytest.param(sign_v1(OLD, message_id="msg_0"), ["old_key", "id_changed"], id="old key and id"),
        pytest.param(sign_v1(message_id="msg_9"), ["wrong_secret"], id="an id that was never sent"),
        pytest.param("v1," + base64.b64decode(sign_v1()[3:]).hex(), ["hex"], id="hex instead of base64"),
        pytest.param(sign_v1().rstrip("="), ["other_base64"], id="no padding"),
    ],
)
def test_the_signature_in_the_header_is_explained(signature: str, mistakes: list[str]) -> None:
    diagnosis = run_diagnosis(signature, sent=(SentMessage("msg_1", BODY), SentMessage("msg_0", BODY)))
    assert (diagnosis.valid, list(diagnosis.problems), diagnosis.problem) == (False, mistakes, mistakes[0])
    assert diagnosis.clock_off_seconds == 0


def dump_document(**layout: object) -> bytes:
    return json.dumps(DOCUMENT, **layout).encode()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("received", "mistake"),
    [
        pytest.param(BODY + b"\n", "body_line_ends", id="a line end added"),
        pytest.param(b" \r\n" + BODY + b"\n ", "body_line_ends", id="white space added"),
        pytest.param(b"\xef\xbb\xbf" + BODY, "body_encoding", id="a byte order mark"),
        pytest.param(BODY.decode().encode("utf-16"), "body_encoding", id="UTF-16"),
        pytest.param(BODY.decode("latin-1").encode(), "body_encoding", id="UTF-8 taken for Latin-1"),
        pytest.param(dump_document(), "body_reserialised", id="Python's spaces and escapes"),
        pytest.param(dump_document(ensure_ascii=False), "body_reserialised", id="spaces"),
        pytest.param(dump_document(separators=(",", ":")), "body_reserialised", id="escapes"),
        pytest.param(dump_document(indent=2, ensure_ascii=False), "body_reserialised", id="two spaces"),
        pytest.param(json.dumps(BODY.decode()).encode(), "body_reserialised", id="a string in a document"),
        pytest.param(BODY.replace(b"/", b"\\/"), "body_reserialised", id="as PHP writes it"),
    ],
)
def test_a_body_that_was_changed_on_the_way_is_recognised(received: bytes, mistake: str) -> None:
    for signature in (sign_v1(), sign_v1(OLD), sign(PRIVATE, "msg_1", NOW, BODY)):
        diagnosis = run_diagnosis(signature, received)
        assert not diagnosis.valid
        assert [problem for problem in diagnosis.problems if problem != "old_key"] == [mistake]
        assert "body" in diagnosis.detail


@pytest.mark.parametrize(
    ("sent", "received", "mistake"),
    [
        pytest.param(b'{"a":1}\r\n', b'{"a":1}\n', "body_line_ends", id="CRLF to LF"),
        pytest.param(b'{"a":1}\n', b'{"a":1}\r\n', "body_line_ends", id="LF to CRLF"),
        pytest.param(b'{"a":1}\n', b'{"a":1}', "body_line_ends", id="a line end stripped"),
        pytest.param(b'{\n"a":1}', b'{\r\n"a":1}\r\n', "body_line_ends", id="other line ends, and one more"),
        pytest.param(b'\xef\xbb\xbf{"a":1}', b'{"a":1}', "body_encoding", id="a byte order mark stripped"),
        pytest.param(b'{"a": 1, "b": 2}', b'{"b":2,"a":1}', "body_reserialised", id="unsorted"),
    ],
)
def test_edges_and_orders_go_both_ways(sent: bytes, received: bytes, mistake: str) -> None:
    assert run_diagnosis(sign_v1(body=sent), received).problem == mistake


@pytest.mark.parametrize(
    ("received", "mistake"),
    [
        pytest.param(BODY.replace(b"100.0", b"100"), "body_reserialised", id="JavaScript's numbers"),
        pytest.param(dump_document(sort_keys=True), "body_reserialised", id="sorted keys"),
        pytest.param(BODY.replace(b'"attempt":1', b'"attempt":2'), "body_changed", id="another content"),
        pytest.param(BODY[:-9], "body_changed", id="cut off"),
        pytest.param(b"", "body_changed", id="nothing left"),
        pytest.param(b"[" * 60_000, "body_changed", id="deeper than can be parsed"),
    ],
)
def test_a_body_is_compared_with_the_one_that_was_sent(received: bytes, mistake: str) -> None:
    assert run_diagnosis(sign_v1(), received, sent=(SentMessage("msg_1", BODY),)).problem == mistake
    assert run_diagnosis(sign_v1(), received).problem == Mistake.WRONG_SECRET


MISTAKEN = [
    pytest.param(compute_mac(KEY, build_content()), [], id="right, without the version"),
    pytest.param(sign_v1(), [], id="right"),
    pytest.param(
        compute_mac(SECRET[6:].encode(), build_content()), ["secret_not_decoded"], id="the secret as text"
    ),
    pytest.param(
        compute_mac(SECRET.encode(), build_content()), ["secret_with_prefix"], id="the secret with its prefix"
    ),
    pytest.param(
        compute_mac(base64.urlsafe_b64decode(SECRET.rstrip("=")[:48]), build_content()),
        ["secret_decoded_with_prefix"],
        id="the prefix decoded as URLs' base64",
    ),
    pytest.param(
        compute_mac(base64.b64decode(SECRET.rstrip("=").replace("_", "")[:48]), build_content()),
        ["secret_decoded_with_prefix"],
        id="the prefix decoded, the underscore dropped",
    ),
    pytest.param(compute_mac(KEY, build_content(), write=base64.b16encode).lower(), ["hex"], id="hex"),
    pytest.param(
        "sha256=" + compute_mac(KEY, build_content(), write=base64.b16encode),
        ["hex"],
        id="as GitHub writes it",
    ),
    pytest.param(
        base64.b64encode(hmac.new(KEY, build_content(), hashlib.sha256).hexdigest().encode()).decode(),
        ["hex"],
        id="base64 of hex",
    ),
    pytest.param(
        compute_mac(KEY, build_content(), write=base64.urlsafe_b64encode).rstrip("="),
        ["other_base64"],
        id="no padding",
    ),
    pytest.param(compute_mac(KEY, build_content(), "sha512"), ["other_hash"], id="SHA-512"),
    pytest.param(compute_mac(KEY, build_content(), "sha1"), ["other_hash"], id="SHA-1"),
    pytest.param(compute_mac(KEY, BODY), ["signed_content"], id="the body alone"),
    pytest.param(compute_mac(KEY, f"{NOW}.".encode() + BODY), ["signed_content"], id="as Stripe does"),
    pytest.param(compute_mac(KEY, b"msg_1." + BODY), ["signed_content"], id="no time"),
    pytest.param(compute_mac(KEY, f"msg_1{NOW}".encode() + BODY), ["signed_content"], id="no dots"),
    pytest.param(
        compute_mac(KEY, build_content(dump_document())), ["body_reserialised"], id="Python's own body"
    ),
    pytest.param(
        compute_mac(KEY, build_content(dump_document(sort_keys=True, indent=2))),
        ["body_reserialised"],
        id="sorted and indented",
    ),
    pytest.param(
        compute_mac(KEY, build_content(dump_document(separators=(",", ":")).replace(b"/", b"\\/"))),
        ["body_reserialised"],
        id="PHP's",
    ),
    pytest.param(compute_mac(KEY, build_content(BODY + b"\n")), ["body_line_ends"], id="a line end added"),
    pytest.param(sign_v1(timestamp=NOW + 12), ["timestamp_changed"], id="its own clock"),
    pytest.param(sign_v1(OLD), ["old_key"], id="the old secret"),
    pytest.param(sign_v1(ELSEWHERE), ["other_endpoint"], id="another endpoint's secret"),
    pytest.param(
        compute_mac(SECRET.encode(), build_content(), write=base64.b16encode),
        ["secret_with_prefix", "hex"],
        id="two mistakes",
    ),
    pytest.param(
        compute_mac(SECRET[6:].encode(), BODY), ["secret_not_decoded", "signed_content"], id="two others"
    ),
    pytest.param(
        compute_mac(encode_secret(OLD).encode(), build_content()),
        ["old_key", "secret_with_prefix"],
        id="the old one as text",
    ),
    pytest.param(compute_mac(bytes(24), build_content()), ["unexplained"], id="no known mistake"),
    pytest.param("", ["unexplained"], id="nothing"),
    pytest.param("v1,é", ["unexplained"], id="no signature at all"),
]


@pytest.mark.parametrize(("expected", "mistakes"), MISTAKEN)
def test_what_the_receiver_computed_is_explained(expected: str, mistakes: list[str]) -> None:
    diagnosis = diagnose(build_headers(), BODY, KEYS, now=NOW, expected=expected)
    assert diagnosis.valid
    assert list(diagnosis.problems) == mistakes
    assert diagnosis.problem == (mistakes[0] if mistakes else None)


def test_what_the_receiver_computed_is_explained_beside_a_clock_that_is_off() -> None:
    diagnosis = diagnose(
        build_headers(), BODY, KEYS, now=NOW + 999, expected=compute_mac(SECRET.encode(), build_content())
    )
    assert (diagnosis.valid, list(diagnosis.problems)) == (False, ["secret_with_prefix", "clock_off"])


def test_a_wrong_signature_and_a_wrong_computation_are_explained_separately() -> None:
    strange = build_headers(sign_v1(bytes(24)))
    right = diagnose(strange, BODY, KEYS, now=NOW, expected=sign_v1())
    assert (right.problem, right.valid) == ("wrong_secret", False)
    assert "The signature that you computed matches" in right.detail
    wrong = diagnose(strange, BODY, KEYS, now=NOW, expected=compute_mac(SECRET.encode(), build_content()))
    assert list(wrong.problems) == ["wrong_secret", "secret_with_prefix"]


def test_the_search_is_limited() -> None:
    many = tuple(SentMessage(f"msg_{number}", BODY) for number in range(10, 30))
    assert run_diagnosis(sign_v1(message_id="msg_29"), sent=many).problem == Mistake.ID_CHANGED
    assert (
        run_diagnosis(sign_v1(message_id="msg_29"), sent=(SentMessage("msg_9", BODY), *many)).problem
        == Mistake.WRONG_SECRET
    )
    assert run_diagnosis(f"{'v9,a ' * 19}{sign_v1()}").valid
    assert not run_diagnosis(f"{'v9,a ' * 20}{sign_v1()}").valid
    long = b'"' + b"a" * 20_000 + b'"'
    text = SECRET[6:].encode()
    assert (
        run_diagnosis("v1," + compute_mac(text, build_content(long)), long).problem
        == Mistake.SECRET_NOT_DECODED
    )
    assert run_diagnosis("v1," + compute_mac(text, long), long).problem == Mistake.WRONG_SECRET
    deep = b"[" * 65 + b"]" * 65
    assert (
        run_diagnosis(
            "v1," + compute_mac(KEY, build_content(deep[1:-1])), deep[1:64] + b" " + deep[64:-1]
        ).problem
        == "body_reserialised"
    )
    assert (
        run_diagnosis("v1," + compute_mac(KEY, build_content(deep)), deep[:64] + b" " + deep[64:]).problem
        == Mistake.WRONG_SECRET
    )


@given(
    sent=st.dictionaries(
        st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]), st.text()
    ),
    valid=st.sets(st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"])),
    body=st.binary(max_size=40) | st.just(BODY),
    expected=st.none() | st.text(),
)
def test_any_input_is_diagnosed_without_showing_a_secret(
    sent: dict[str, str], valid: set[str], body: bytes, expected: str | None
) -> None:
    mixed = sent | {name: value for name, value in build_headers().items() if name in valid}
    diagnosis = diagnose(mixed, body, Keys(KEY), now=NOW, expected=expected)
    assert diagnosis.valid == (mixed == build_headers() and body == BODY)
    assert SECRET[6:] not in str(diagnosis)
    assert sign_v1()[3:] not in str(diagnosis)
