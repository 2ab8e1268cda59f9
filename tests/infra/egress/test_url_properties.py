"""Properties that hold for every address and every URL."""

from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from infra.egress import BlockedURL, EgressPolicy
from infra.egress.addresses import find_block_reason
from infra.egress.results import Address
from infra.egress.urls import get_host, parse_url

FIRST_BYTES = [0, 10, 100, 127, 169, 172, 192, 198, 203, 224, 240, 255]
IPV4 = st.builds(
    lambda first, rest: IPv4Address(first << 24 | rest),
    st.sampled_from(FIRST_BYTES) | st.integers(0, 255),
    st.integers(0, (1 << 24) - 1),
)
IPV6 = st.builds(
    lambda first, rest: IPv6Address(first << 112 | rest),
    st.sampled_from([0, 0x64, 0x2001, 0x2002, 0x3FFE, 0x3FFF, 0xFD00, 0xFE80, 0xFEC0, 0xFF02])
    | st.integers(0, 0xFFFF),
    st.integers(0, (1 << 112) - 1) | st.integers(0, (1 << 40) - 1),
)
PIECES = st.sampled_from(
    [
        "a.example.com", "127.0.0.1", "[::1]", "@", ":", "/", "\\", "?", "#", "%2e", "%00", "\t", " ", "\u3002",
        "\uff0e", "xn--", "..", ".", "443", "0x7f", "[", "]", "%5b", "\u00e9", "\u212a", "\u017f", "-", "_", "user",
        "//", "\u0301", "\u2460", "\u24d0", "\u2100", "\u0600", "\u00b2", "\u200d", "http:", "0", "A",
    ]
)  # fmt: skip
FORMS = [
    pytest.param("::{}", id="compatible"),
    pytest.param("::ffff:{}", id="mapped"),
    pytest.param("::ffff:0:{}", id="translated"),
    pytest.param("64:ff9b::{}", id="NAT64"),
    pytest.param("64:ff9b:1::{}", id="local NAT64"),
    pytest.param("2a00:1450::5efe:{}", id="ISATAP"),
    pytest.param("2a00:1450::200:5efe:{}", id="ISATAP, universal"),
]


@given(IPV4 | IPV6)
def test_the_standard_library_agrees_with_what_is_allowed(address: Address) -> None:
    if find_block_reason(address, ()) is None:
        assert address.is_global
        assert not address.is_multicast
        assert not address.is_reserved


@pytest.mark.parametrize("form", FORMS)
@given(embedded=IPV4)
def test_an_ipv4_address_in_an_ipv6_address_is_checked_as_well(form: str, embedded: IPv4Address) -> None:
    address = ip_address(form.format(embedded))
    assume(int(address) > 1)  # `::` and `::1` are addresses of their own
    assert find_block_reason(address, ()) is not None
    allowed = (ip_network(address),)
    assert (find_block_reason(address, allowed) is None) == (find_block_reason(embedded, ()) is None)


@given(st.lists(PIECES, max_size=6))
def test_another_parser_reads_an_allowed_url_alike(pieces: list[str]) -> None:
    url = "https://" + "".join(pieces)
    try:
        parsed = parse_url(url, EgressPolicy())
    except BlockedURL:
        return
    theirs = urlsplit(url)
    assert theirs.hostname is not None
    host = theirs.hostname if theirs.hostname.isascii() else theirs.hostname.encode("idna").decode()
    assert get_host(parsed) == host
    assert parsed.port == (None if theirs.port == 443 else theirs.port)
    assert (theirs.username, theirs.password, theirs.fragment) == (None, None, "")


@given(st.text() | st.lists(PIECES).map("".join))
def test_any_text_is_a_url_or_blocked(text: str) -> None:
    for url in (text, f"https://{text}", f"https://a.example.com/{text}", f"https://a.example.com:{text}"):
        with suppress(BlockedURL):
            assert parse_url(url, EgressPolicy()).scheme == "https"
