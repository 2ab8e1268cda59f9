"""Check the URLs, origins and hosts in settings."""

import ipaddress
from urllib.parse import urlsplit

ANY_ORIGIN = "*"


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
