"""The types of settings, each with what makes a value invalid."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr
from pydantic_settings import NoDecode

from infra.database.postgresql import is_postgresql
from service.web_addresses import has_user, is_every_address, is_http_url, normalize_origin

MIN_SECRET_BYTES = 32

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Default:
    """What the guide says of a default that is not the same everywhere."""

    text: str


class SettingsGroup(BaseModel):
    """Settings of one subject, a section of the guide: the text below a field is what the guide says of it."""

    model_config = ConfigDict(use_attribute_docstrings=True)
    heading: ClassVar[str]


def split_list(value: object) -> object:
    """Split text at its commas."""
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


def check_secret(value: SecretStr) -> SecretStr:
    """Raise ValueError for a secret that is too short."""
    if len(value.get_secret_value().encode()) < MIN_SECRET_BYTES:
        raise ValueError(f"must have at least {MIN_SECRET_BYTES} bytes")
    return value


def check_secrets(value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    """Raise ValueError if one of the secrets is too short."""
    if any(len(secret.get_secret_value().encode()) < MIN_SECRET_BYTES for secret in value):
        raise ValueError(f"each secret must have at least {MIN_SECRET_BYTES} bytes")
    return value


def check_url(value: str | None) -> str | None:
    """Raise ValueError for what is no http or https URL; empty means that there is none."""
    if value and not is_http_url(value):
        raise ValueError("must be an http or https URL, such as https://example.org")
    return value


def check_own_url(value: str | None) -> str | None:
    """Raise ValueError for a URL of the service to which nothing can connect, or that would spread a password."""
    check_url(value)
    if value and has_user(value):
        raise ValueError("must have no user or password: it is part of the URLs that clients get")
    if value and is_every_address(value):
        raise ValueError("names all addresses of a machine, and nothing can connect to that; use one address")
    return value


def check_bucket_name(value: str | None) -> str | None:
    """Raise ValueError for what can't be the name of a bucket; empty means that there is none."""
    if value and not re.fullmatch(r"[A-Za-z0-9._-]{1,255}", value):
        raise ValueError("must be the name of a bucket alone, such as framehook")
    return value


def check_database_url(value: str | None) -> str | None:
    """Raise ValueError for a kind of database that is not supported."""
    if not value or is_postgresql(value):
        return value
    scheme, _, path = value.partition(":///")
    if scheme != "sqlite+aiosqlite" or path in ("", ":memory:"):
        raise ValueError("must be sqlite+aiosqlite:///path/to/a/file or postgresql://…")
    return value


def normalize_origins(value: tuple[str, ...]) -> tuple[str, ...]:
    """Return the origins as browsers send them; raises ValueError."""
    return tuple(normalize_origin(origin) for origin in value)


def parse_networks(value: object) -> object:
    """Parse networks; raises ValueError, which says for one with host bits which network it is in."""
    parts = split_list(value)
    return tuple(map(_parse_network, parts)) if isinstance(parts, tuple) else parts


def _parse_network(value: Any) -> Network:
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise ValueError(f"{value} is no network; write it like 10.1.0.0/16") from None
    if "/" in str(value) and ipaddress.ip_address(str(value).partition("/")[0]) != network.network_address:
        raise ValueError(f"{value} has bits of a host set; the network is {network}")
    return network


MAX_DAYS = 36_600
"""A hundred years. Times so many days from now can be shown; those of the year 10000 can't."""
Dollars = Annotated[float, Field(ge=0, le=1_000_000_000)]
Port = Annotated[int, Field(ge=1, le=65_535)]
Secret = Annotated[SecretStr, AfterValidator(check_secret)]
Secrets = Annotated[
    tuple[SecretStr, ...], NoDecode, BeforeValidator(split_list), AfterValidator(check_secrets)
]
Url = Annotated[str | None, AfterValidator(check_url)]
OwnUrl = Annotated[str | None, AfterValidator(check_own_url)]
DatabaseUrl = Annotated[str | None, Field(repr=False), AfterValidator(check_database_url)]
"""It may hold a password, so it is not part of the representation."""
BucketName = Annotated[str | None, AfterValidator(check_bucket_name)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split_list)]
Origins = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split_list), AfterValidator(normalize_origins)]
Networks = Annotated[tuple[Network, ...], NoDecode, BeforeValidator(parse_networks)]
