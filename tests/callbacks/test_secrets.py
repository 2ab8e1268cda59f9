"""The encoding of webhook secrets that consumers get."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callbacks.signing import decode_secret, encode_secret

KEY = bytes(range(32))


@given(st.binary(min_size=24, max_size=64))
def test_secrets_survive_the_round_trip(key: bytes) -> None:
    assert decode_secret(encode_secret(key)) == key


@pytest.mark.parametrize(
    "secret",
    [
        pytest.param("", id="empty"),
        pytest.param("whsec_", id="nothing after the prefix"),
        pytest.param(encode_secret(KEY).removeprefix("whsec_"), id="no prefix"),
        pytest.param("whsec_" + encode_secret(KEY), id="two prefixes"),
        pytest.param(encode_secret(KEY).rstrip("="), id="no padding"),
        pytest.param(encode_secret(KEY) + "\n", id="a newline"),
        pytest.param(encode_secret(KEY)[:-2] + "9=", id="spare bits set"),
        pytest.param(encode_secret(bytes(23)), id="23 bytes"),
        pytest.param(encode_secret(bytes(65)), id="65 bytes"),
        pytest.param("whsec_" + "é" * 32, id="beyond ASCII"),
        pytest.param("whsec_" + "-_" * 16, id="the URL alphabet"),
    ],
)
def test_a_malformed_secret_is_refused_and_not_quoted(secret: str) -> None:
    with pytest.raises(ValueError, match="a webhook secret") as refused:
        decode_secret(secret)
    assert len(secret) < 10 or secret[6:] not in str(refused.value)
