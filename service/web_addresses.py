"""Check the URLs, origins and hosts in settings."""

import ipaddress
from urllib.parse import urlsplit

ANY_ORIGIN = "*"
PRIVATE_SUFFIXES = (".local", ".internal", ".lan", ".home.arpa")


def is_http_url(value: str) -> bool:
    """Tell whether a value is an http or https URL without query or fragment."""
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        return False
    is_plain = not (parts.query or parts.fragment or any(character.isspace() for character in value))
    return parts.scheme in ("http", "https") and bool(parts.hostname) and is_plain


def normalize_origin(value: str) -> str:
    """Normalize an origin to the form that browsers send; raises ValueError."""
    if value == ANY_ORIGIN:
        return value
    parts = urlsplit(value) if is_http_url(value) else None
    if parts is None or parts.path or "@" in parts.netloc:
        raise ValueError(
            "each origin must be a scheme and a host without a path, such as https://app.example.org"
        )
    default = {"http": 80, "https": 443}[parts.scheme]
    host = parts.netloc.lower()
    return f"{parts.scheme}://{host.removesuffix(f':{default}')}"


def is_loopback(host: str) -> bool:
    """Tell whether a host to listen on is reachable only from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def has_user(url: str) -> bool:
    """Tell whether a URL names a user or a password."""
    return "@" in urlsplit(url).netloc


def is_every_address(url: str) -> bool:
    """Tell whether the host of a URL means all addresses of a machine, such as 0.0.0.0."""
    try:
        return ipaddress.ip_address(urlsplit(url).hostname or "").is_unspecified
    except ValueError:
        return False


def is_own_machine(url: str) -> bool:
    """Tell whether the host of a URL means the machine that connects to it."""
    host = urlsplit(url).hostname or ""
    return is_loopback(host) or host.endswith(".localhost") or is_every_address(url)


def is_private_network(url: str) -> bool:
    """Tell whether the host of a URL is an address or a name of a private network."""
    host = urlsplit(url).hostname or ""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith(PRIVATE_SUFFIXES)
