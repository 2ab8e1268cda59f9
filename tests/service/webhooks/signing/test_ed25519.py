"""Ed25519 signatures, checked against `cryptography` and the specification."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from service.webhooks.ed25519 import (
    decode_private,
    decode_public,
    encode_private,
    encode_public,
    private_key_from_seed,
    sign,
    verify,
)

SEED = bytes(range(32))
KEY = private_key_from_seed(SEED)
BODY = '{"type":"export.completed","data":{"message":"жираф"}}'.encode()
SIGNED = b"msg_1.1790000000." + BODY


@given(seed=st.binary(min_size=32, max_size=32), body=st.binary(max_size=200))
def test_signatures_are_those_of_ed25519(seed: bytes, body: bytes) -> None:
    signature = sign(private_key_from_seed(seed), "msg_1", 1_790_000_000, body)
    theirs = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    version, _, encoded = signature.partition(",")
    assert version == "v1a"
    theirs.verify(base64.b64decode(encoded, validate=True), b"msg_1.1790000000." + body)
    assert verify(theirs, signature, b"msg_1.1790000000." + body)


def test_the_first_vector_of_rfc_8032() -> None:
    key = private_key_from_seed(
        bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    )
    assert (
        encode_public(key.public_key())
        == "whpk_"
        + base64.b64encode(
            bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
        ).decode()
    )


def test_keys_survive_the_round_trip() -> None:
    private = encode_private(KEY)
    assert private.startswith("whsk_")
    assert base64.b64decode(private[5:]) == SEED + KEY.public_key().public_bytes_raw()
    assert decode_private(private).private_bytes_raw() == SEED
    assert decode_private("whsk_" + base64.b64encode(SEED).decode()).private_bytes_raw() == SEED
    public = encode_public(KEY.public_key())
    assert decode_public(public).public_bytes_raw() == KEY.public_key().public_bytes_raw()


def test_a_key_of_a_svix_server_is_accepted() -> None:
    text = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
    assert encode_private(decode_private(text)) == text
    assert (
        encode_public(decode_private(text).public_key())
        == "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
    )


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("whsk_", id="nothing after the prefix"),
        pytest.param(encode_private(KEY)[5:], id="no prefix"),
        pytest.param(encode_private(KEY).replace("whsk_", "whsec_"), id="another prefix"),
        pytest.param(encode_public(KEY.public_key()), id="a public key"),
        pytest.param(encode_private(KEY).rstrip("="), id="no padding"),
        pytest.param(encode_private(KEY) + "\n", id="a newline"),
        pytest.param("whsk_" + base64.b64encode(SEED[:31]).decode(), id="31 bytes"),
        pytest.param("whsk_" + base64.b64encode(SEED + SEED).decode(), id="another key's public half"),
        pytest.param("whsk_" + "é" * 44, id="beyond ASCII"),
    ],
)
def test_a_malformed_private_key_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(ValueError, match="private key") as refused:
        decode_private(text)
    assert len(text) < 10 or text[6:] not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param(encode_private(KEY), id="a private key"),
        pytest.param(encode_public(KEY.public_key())[:-1], id="no padding"),
        pytest.param(encode_public(KEY.public_key())[5:], id="no prefix"),
        pytest.param("whpk_" + base64.b64encode(bytes(33)).decode(), id="33 bytes"),
    ],
)
def test_a_malformed_public_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="public key"):
        decode_public(text)


GOOD = sign(KEY, "msg_1", 1_790_000_000, BODY)


@pytest.mark.parametrize(
    "signature",
    [
        pytest.param("", id="empty"),
        pytest.param(GOOD.removeprefix("v1a,"), id="no version"),
        pytest.param(GOOD.replace("v1a,", "v1,"), id="another version"),
        pytest.param(GOOD.rstrip("="), id="no padding"),
        pytest.param(GOOD + "=", id="more padding"),
        pytest.param(GOOD + " ", id="a space"),
        pytest.param(GOOD.replace("=", "") + "A==", id="one more byte"),
        pytest.param("v1a," + base64.b64encode(bytes(64)).decode(), id="nothing but zeros"),
        pytest.param("v1a,", id="no signature"),
        pytest.param(sign(private_key_from_seed(bytes(32)), "msg_1", 1_790_000_000, BODY), id="another key"),
        pytest.param(sign(KEY, "msg_2", 1_790_000_000, BODY), id="another id"),
        pytest.param(sign(KEY, "msg_1", 1_790_000_001, BODY), id="another time"),
        pytest.param(sign(KEY, "msg_1", 1_790_000_000, BODY + b"\n"), id="another body"),
    ],
)
def test_only_the_exact_signature_is_accepted(signature: str) -> None:
    assert verify(KEY.public_key(), GOOD, SIGNED)
    assert not verify(KEY.public_key(), signature, SIGNED)


def test_a_signature_with_its_other_scalar_is_refused() -> None:
    """S and S + L satisfy the same equation; only the smaller is valid (RFC 8032, 5.1.7)."""
    order = 2**252 + 27742317777372353535851937790883648493
    raw = base64.b64decode(GOOD[4:])
    twin = raw[:32] + (int.from_bytes(raw[32:], "little") + order).to_bytes(32, "little")
    assert not verify(KEY.public_key(), "v1a," + base64.b64encode(twin).decode(), SIGNED)


@given(st.text())
def test_any_text_is_a_signature_or_not(text: str) -> None:
    assert not verify(KEY.public_key(), text, SIGNED)


def test_a_weak_public_key_does_not_verify_our_signatures() -> None:
    weak = Ed25519PublicKey.from_public_bytes(b"\x01" + bytes(31))
    assert not verify(weak, GOOD, SIGNED)


@pytest.mark.parametrize(("message_id", "timestamp"), [("a.b", 1), ("", 1), ("a b", 1), ("msg_1", -1)])
def test_nothing_ambiguous_is_signed(message_id: str, timestamp: int) -> None:
    with pytest.raises(ValueError, match=r"^a "):
        sign(KEY, message_id, timestamp, BODY)
