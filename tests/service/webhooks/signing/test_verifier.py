"""What is said of a message that does not verify, with other people's signers as senders and mistaken receivers."""

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


def theirs(key: bytes = KEY, body: bytes = BODY, message_id: str = "msg_1", timestamp: int = NOW) -> str:
    return standardwebhooks.Webhook(key).sign(
        message_id, datetime.fromtimestamp(timestamp, UTC), body.decode()
    )


def headers(signature: str | None = None, /, **changes: str) -> dict[str, str]:
    replaced = {f"webhook-{name}": value for name, value in changes.items()}
    made = {"webhook-id": "msg_1", "webhook-timestamp": str(NOW), "webhook-signature": signature or theirs()}
    return made | replaced


def asked(signature: str, body: bytes = BODY, *, sent: tuple[SentMessage, ...] = ()) -> Diagnosis:
    return diagnose(headers(signature), body, KEYS, now=NOW, sent=sent)


def mac(
    key: bytes, content: bytes, hash_name: str = "sha256", write: Callable[[bytes], bytes] = base64.b64encode
) -> str:
    return write(hmac.digest(key, content, hash_name)).decode()


def signed(body: bytes = BODY) -> bytes:
    return f"msg_1.{NOW}.".encode() + body


@pytest.mark.parametrize(
    "oracle", [standardwebhooks.Webhook, svix.webhooks.Webhook], ids=["standard", "svix"]
)
def test_what_others_accept_is_valid(
    oracle: type[standardwebhooks.Webhook] | type[svix.webhooks.Webhook],
) -> None:
    now = int(time.time())
    signature = oracle(SECRET).sign("msg_1", datetime.fromtimestamp(now, UTC), BODY.decode())
    got = headers(f"v9,abc {theirs(OLD)} {signature}", timestamp=str(now))
    oracle(SECRET).verify(BODY, got)
    found = diagnose({name.upper(): value for name, value in got.items()}, BODY, KEYS, now=now + 2.2)
    assert found == Diagnosis(True, None, "The message is valid.", clock_off_seconds=2)


def test_an_asymmetric_signature_alone_is_valid() -> None:
    assert asked(sign(PRIVATE, "msg_1", NOW, BODY)).valid
    strange = sign(private_key_from_seed(KEY), "msg_1", NOW, BODY)
    for other in (theirs(bytes(24)), theirs(OLD), strange):
        assert asked(f"{other} {sign(PRIVATE, 'msg_1', NOW, BODY)}").valid


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
    found = diagnose(headers(**changes), BODY, KEYS, now=NOW)
    assert (found.valid, found.problem, found.header) == (False, mistake, f"webhook-{header}")
    assert says in found.detail


def test_a_header_that_did_not_come_at_all_is_missing() -> None:
    assert diagnose({}, BODY, KEYS, now=NOW).problem == Mistake.HEADER_MISSING


def test_an_asymmetric_signature_wants_a_public_key() -> None:
    found = diagnose(headers(sign(PRIVATE, "msg_1", NOW, BODY)), BODY, Keys(KEY), now=NOW)
    assert (found.problem, found.valid) == ("other_version", False)


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
    found = diagnose(headers(), BODY, KEYS, now=NOW + off)
    assert (found.valid, found.problem, found.clock_off_seconds) == (
        valid, None if valid else Mistake.CLOCK_OFF, off,
    )  # fmt: skip
    assert says in found.detail


@pytest.mark.parametrize(
    ("signature", "mistakes"),
    [
        pytest.param(theirs(OLD), ["old_key"], id="the old key"),
        pytest.param(theirs(ELSEWHERE), ["other_endpoint"], id="another endpoint's"),
        pytest.param(theirs(bytes(24)), ["wrong_secret"], id="a stranger's"),
        pytest.param(
            sign(private_key_from_seed(KEY), "msg_1", NOW, BODY), ["wrong_secret"], id="another ed25519 key"
        ),
        pytest.param(theirs(timestamp=NOW - 7), ["timestamp_changed"], id="another time"),
        pytest.param(
            theirs(OLD, timestamp=NOW + 300), ["old_key", "timestamp_changed"], id="old key and time"
        ),
        pytest.param(
            sign(PRIVATE, "msg_1", NOW + 1, BODY), ["timestamp_changed"], id="ed25519, another time"
        ),
        pytest.param(theirs(timestamp=NOW - 301), ["wrong_secret"], id="a time too far away"),
        pytest.param(theirs(message_id="msg_0"), ["id_changed"], id="another id"),
        pytest.param(sign(PRIVATE, "msg_0", NOW, BODY), ["id_changed"], id="ed25519, another id"),
        pytest.param(theirs(OLD, message_id="msg_0"), ["old_key", "id_changed"], id="old key and id"),
        pytest.param(theirs(message_id="msg_9"), ["wrong_secret"], id="an id that was never sent"),
        pytest.param("v1," + base64.b64decode(theirs()[3:]).hex(), ["hex"], id="hex instead of base64"),
        pytest.param(theirs().rstrip("="), ["other_base64"], id="no padding"),
    ],
)
def test_the_signature_in_the_header_is_explained(signature: str, mistakes: list[str]) -> None:
    found = asked(signature, sent=(SentMessage("msg_1", BODY), SentMessage("msg_0", BODY)))
    assert (found.valid, list(found.problems), found.problem) == (False, mistakes, mistakes[0])
    assert found.clock_off_seconds == 0


def changed_by(**layout: object) -> bytes:
    return json.dumps(DOCUMENT, **layout).encode()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("received", "mistake"),
    [
        pytest.param(BODY + b"\n", "body_line_ends", id="a line end added"),
        pytest.param(b" \r\n" + BODY + b"\n ", "body_line_ends", id="white space added"),
        pytest.param(b"\xef\xbb\xbf" + BODY, "body_encoding", id="a byte order mark"),
        pytest.param(BODY.decode().encode("utf-16"), "body_encoding", id="UTF-16"),
        pytest.param(BODY.decode("latin-1").encode(), "body_encoding", id="UTF-8 taken for Latin-1"),
        pytest.param(changed_by(), "body_reserialised", id="Python's spaces and escapes"),
        pytest.param(changed_by(ensure_ascii=False), "body_reserialised", id="spaces"),
        pytest.param(changed_by(separators=(",", ":")), "body_reserialised", id="escapes"),
        pytest.param(changed_by(indent=2, ensure_ascii=False), "body_reserialised", id="two spaces"),
        pytest.param(json.dumps(BODY.decode()).encode(), "body_reserialised", id="a string in a document"),
        pytest.param(BODY.replace(b"/", b"\\/"), "body_reserialised", id="as PHP writes it"),
    ],
)
def test_a_body_that_was_changed_on_the_way_is_recognised(received: bytes, mistake: str) -> None:
    for signature in (theirs(), theirs(OLD), sign(PRIVATE, "msg_1", NOW, BODY)):
        found = asked(signature, received)
        assert not found.valid
        assert [problem for problem in found.problems if problem != "old_key"] == [mistake]
        assert "body" in found.detail


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
    assert asked(theirs(body=sent), received).problem == mistake


@pytest.mark.parametrize(
    ("received", "mistake"),
    [
        pytest.param(BODY.replace(b"100.0", b"100"), "body_reserialised", id="JavaScript's numbers"),
        pytest.param(changed_by(sort_keys=True), "body_reserialised", id="sorted keys"),
        pytest.param(BODY.replace(b'"attempt":1', b'"attempt":2'), "body_changed", id="another content"),
        pytest.param(BODY[:-9], "body_changed", id="cut off"),
        pytest.param(b"", "body_changed", id="nothing left"),
        pytest.param(b"[" * 60_000, "body_changed", id="deeper than can be parsed"),
    ],
)
def test_a_body_is_compared_with_the_one_that_was_sent(received: bytes, mistake: str) -> None:
    assert asked(theirs(), received, sent=(SentMessage("msg_1", BODY),)).problem == mistake
    assert asked(theirs(), received).problem == Mistake.WRONG_SECRET


MISTAKEN = [
    pytest.param(mac(KEY, signed()), [], id="right, without the version"),
    pytest.param(theirs(), [], id="right"),
    pytest.param(mac(SECRET[6:].encode(), signed()), ["secret_not_decoded"], id="the secret as text"),
    pytest.param(mac(SECRET.encode(), signed()), ["secret_with_prefix"], id="the secret with its prefix"),
    pytest.param(
        mac(base64.urlsafe_b64decode(SECRET.rstrip("=")[:48]), signed()),
        ["secret_decoded_with_prefix"],
        id="the prefix decoded as URLs' base64",
    ),
    pytest.param(
        mac(base64.b64decode(SECRET.rstrip("=").replace("_", "")[:48]), signed()),
        ["secret_decoded_with_prefix"],
        id="the prefix decoded, the underscore dropped",
    ),
    pytest.param(mac(KEY, signed(), write=base64.b16encode).lower(), ["hex"], id="hex"),
    pytest.param("sha256=" + mac(KEY, signed(), write=base64.b16encode), ["hex"], id="as GitHub writes it"),
    pytest.param(
        base64.b64encode(hmac.new(KEY, signed(), hashlib.sha256).hexdigest().encode()).decode(),
        ["hex"],
        id="base64 of hex",
    ),
    pytest.param(
        mac(KEY, signed(), write=base64.urlsafe_b64encode).rstrip("="), ["other_base64"], id="no padding"
    ),
    pytest.param(mac(KEY, signed(), "sha512"), ["other_hash"], id="SHA-512"),
    pytest.param(mac(KEY, signed(), "sha1"), ["other_hash"], id="SHA-1"),
    pytest.param(mac(KEY, BODY), ["signed_content"], id="the body alone"),
    pytest.param(mac(KEY, f"{NOW}.".encode() + BODY), ["signed_content"], id="as Stripe does"),
    pytest.param(mac(KEY, b"msg_1." + BODY), ["signed_content"], id="no time"),
    pytest.param(mac(KEY, f"msg_1{NOW}".encode() + BODY), ["signed_content"], id="no dots"),
    pytest.param(mac(KEY, signed(changed_by())), ["body_reserialised"], id="Python's own body"),
    pytest.param(
        mac(KEY, signed(changed_by(sort_keys=True, indent=2))),
        ["body_reserialised"],
        id="sorted and indented",
    ),
    pytest.param(
        mac(KEY, signed(changed_by(separators=(",", ":")).replace(b"/", b"\\/"))),
        ["body_reserialised"],
        id="PHP's",
    ),
    pytest.param(mac(KEY, signed(BODY + b"\n")), ["body_line_ends"], id="a line end added"),
    pytest.param(theirs(timestamp=NOW + 12), ["timestamp_changed"], id="its own clock"),
    pytest.param(theirs(OLD), ["old_key"], id="the old secret"),
    pytest.param(theirs(ELSEWHERE), ["other_endpoint"], id="another endpoint's secret"),
    pytest.param(
        mac(SECRET.encode(), signed(), write=base64.b16encode),
        ["secret_with_prefix", "hex"],
        id="two mistakes",
    ),
    pytest.param(mac(SECRET[6:].encode(), BODY), ["secret_not_decoded", "signed_content"], id="two others"),
    pytest.param(
        mac(encode_secret(OLD).encode(), signed()),
        ["old_key", "secret_with_prefix"],
        id="the old one as text",
    ),
    pytest.param(mac(bytes(24), signed()), ["unexplained"], id="no known mistake"),
    pytest.param("", ["unexplained"], id="nothing"),
    pytest.param("v1,é", ["unexplained"], id="no signature at all"),
]


@pytest.mark.parametrize(("expected", "mistakes"), MISTAKEN)
def test_what_the_receiver_computed_is_explained(expected: str, mistakes: list[str]) -> None:
    found = diagnose(headers(), BODY, KEYS, now=NOW, expected=expected)
    assert found.valid
    assert list(found.problems) == mistakes
    assert found.problem == (mistakes[0] if mistakes else None)


def test_what_the_receiver_computed_is_explained_beside_a_clock_that_is_off() -> None:
    found = diagnose(headers(), BODY, KEYS, now=NOW + 999, expected=mac(SECRET.encode(), signed()))
    assert (found.valid, list(found.problems)) == (False, ["secret_with_prefix", "clock_off"])


def test_a_strange_signature_and_what_was_computed_are_told_apart() -> None:
    strange = headers(theirs(bytes(24)))
    right = diagnose(strange, BODY, KEYS, now=NOW, expected=theirs())
    assert (right.problem, right.valid) == ("wrong_secret", False)
    assert "The signature that you computed matches" in right.detail
    wrong = diagnose(strange, BODY, KEYS, now=NOW, expected=mac(SECRET.encode(), signed()))
    assert list(wrong.problems) == ["wrong_secret", "secret_with_prefix"]


def test_what_is_tried_has_an_end() -> None:
    many = tuple(SentMessage(f"msg_{number}", BODY) for number in range(10, 30))
    assert asked(theirs(message_id="msg_29"), sent=many).problem == Mistake.ID_CHANGED
    assert (
        asked(theirs(message_id="msg_29"), sent=(SentMessage("msg_9", BODY), *many)).problem
        == Mistake.WRONG_SECRET
    )
    assert asked(f"{'v9,a ' * 19}{theirs()}").valid
    assert not asked(f"{'v9,a ' * 20}{theirs()}").valid
    long = b'"' + b"a" * 20_000 + b'"'
    text = SECRET[6:].encode()
    assert asked("v1," + mac(text, signed(long)), long).problem == Mistake.SECRET_NOT_DECODED
    assert asked("v1," + mac(text, long), long).problem == Mistake.WRONG_SECRET
    deep = b"[" * 65 + b"]" * 65
    assert (
        asked("v1," + mac(KEY, signed(deep[1:-1])), deep[1:64] + b" " + deep[64:-1]).problem
        == "body_reserialised"
    )
    assert asked("v1," + mac(KEY, signed(deep)), deep[:64] + b" " + deep[64:]).problem == Mistake.WRONG_SECRET


@given(
    sent=st.dictionaries(
        st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]), st.text()
    ),
    valid=st.sets(st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"])),
    body=st.binary(max_size=40) | st.just(BODY),
    expected=st.none() | st.text(),
)
def test_anything_at_all_is_diagnosed_and_no_secret_is_told(
    sent: dict[str, str], valid: set[str], body: bytes, expected: str | None
) -> None:
    mixed = sent | {name: value for name, value in headers().items() if name in valid}
    found = diagnose(mixed, body, Keys(KEY), now=NOW, expected=expected)
    assert found.valid == (mixed == headers() and body == BODY)
    assert SECRET[6:] not in str(found)
    assert theirs()[3:] not in str(found)
