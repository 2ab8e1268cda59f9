"""Decide which URLs may be called; pure.

The result is the parsed URL, so that what was checked is what is called.
"""

import re
from ipaddress import ip_address
from typing import Final

import httpx

from infra.egress.results import Address, BlockedURL, EgressPolicy

MAX_CHARACTERS: Final = 2_048
_MAX_HOST: Final = 253
_HIGHEST_PORT: Final = 65_535

_SHAPE = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<rest>[^#]*)(?P<fragment>#.*)?"
)
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:@]+)(:[1-9][0-9]{0,4})?")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")

# Ports of services other than HTTP, which browsers refuse as well: https://fetch.spec.whatwg.org/#port-blocking
BAD_PORTS: Final = frozenset(
    {
        1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109,
        110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530,
        531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190,
        5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
    }
)  # fmt: skip


def parse_url(url: str, policy: EgressPolicy) -> httpx.URL:
    """Parse a URL that all parsers read alike; raises BlockedURL.

    Only the addresses of its host remain to be checked.
    """
    shape = _match_shape(url)
    _check_scheme(shape["scheme"], policy)
    if shape["fragment"] is not None:
        raise BlockedURL("The URL has a fragment (#…), which is never sent; remove it.")
    if "@" in shape["authority"]:
        raise BlockedURL("The URL contains a user name or password; remove it. Requests are signed instead.")
    if not _AUTHORITY.fullmatch(shape["authority"]):
        raise BlockedURL(
            "The host or port of the URL is missing or malformed; write it as https://host:port/path."
        )
    try:
        parsed = httpx.URL(url)
        parsed.host  # noqa: B018 - decodes international names, which may fail
    except (httpx.InvalidURL, UnicodeError, ValueError):
        raise BlockedURL("The host of the URL is not a valid name or address.") from None
    _check_host(get_host(parsed))
    _check_port(parsed.port)
    return parsed


def get_host(url: httpx.URL) -> str:
    """Return the host as it is resolved and sent: ASCII, lower case, no brackets."""
    return url.raw_host.decode("ascii")


def parse_address(host: str) -> Address | None:
    """Return the address if the host is one; None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def is_localhost(host: str) -> bool:
    """Tell whether a name means this machine without being resolved (RFC 6761)."""
    name = host.lower().rstrip(".")
    return name == "localhost" or name.endswith(".localhost")


def _match_shape(url: str) -> re.Match[str]:
    if len(url) > MAX_CHARACTERS:
        raise BlockedURL(f"The URL is longer than {MAX_CHARACTERS} characters.")
    if "\\" in url or any(character.isspace() or not character.isprintable() for character in url):
        raise BlockedURL("The URL contains a space, a backslash or a control character; percent-encode it.")
    shape = _SHAPE.fullmatch(url)
    if shape is None:
        raise BlockedURL("The URL is not of the form https://host/path.")
    return shape


def _check_scheme(scheme: str, policy: EgressPolicy) -> None:
    if scheme.lower() == "https" or (scheme.lower() == "http" and policy.allow_http):
        return
    if scheme.lower() == "http":
        raise BlockedURL(
            "The URL must begin with https://. "
            f"The operator of this service can allow http:// with {policy.http_setting}=true.",
            is_by_policy=True,
        )
    raise BlockedURL(
        "The URL must begin with http:// or https://."
        if policy.allow_http
        else "The URL must begin with https://."
    )


def _check_host(host: str) -> None:
    if parse_address(host) is not None:
        return
    labels = host.split(".")
    if not labels[-1] and len(labels) > 1:
        raise BlockedURL("The host of the URL ends with a dot; remove it.")
    if len(host) > _MAX_HOST or not all(_LABEL.fullmatch(label) for label in labels):
        raise BlockedURL("The host of the URL is not a valid name or address.")
    if _NUMBER.fullmatch(labels[-1]):
        raise BlockedURL(
            "The host of the URL is an unusual form of an IPv4 address; write it as four decimal numbers."
        )


def _check_port(port: int | None) -> None:
    if port is not None and port > _HIGHEST_PORT:
        raise BlockedURL(f"Port {port} does not exist; the highest is {_HIGHEST_PORT}.")
    if port in BAD_PORTS:
        raise BlockedURL(f"Port {port} belongs to another protocol than HTTP; use a different one.")
