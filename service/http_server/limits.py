"""Limits on what clients may send and open, reduced to what the open-file limit allows."""

import resource
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

MAX_OPEN_FILES: Final = 65_536
OTHER_FILES: Final = 2_048


@dataclass(frozen=True)
class ConnectionLimits:
    """Maximum numbers of open connections.

    `reserved` further ones serve callbacks and health checks only.
    """

    total: int = 4_096
    per_address: int | None = None
    """None means half of `total`."""
    reserved: int = 32


@dataclass(frozen=True)
class HttpLimits:
    """Limits of one connection, and of all connections together."""

    head_bytes: int = 64 * 1024
    fields: int = 100
    head_seconds: float = 10.0
    body_seconds: float = 30.0
    linger_seconds: float = 2.0
    connections: ConnectionLimits = field(default_factory=ConnectionLimits)


def raise_open_file_limit() -> int:
    """Raise the soft limit of open files to the hard one and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
    if soft == resource.RLIM_INFINITY:
        return sys.maxsize
    if soft < wanted:
        with suppress(ValueError, OSError):  # some systems allow less than they report
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return wanted
    return soft


def fit_to_open_files(limits: ConnectionLimits, open_files: int) -> ConnectionLimits:
    """Reduce the limits to the open files that are left for connections.

    The others are for the database, videos, runs and webhooks: `OTHER_FILES`, or half of all if these are few.
    """
    for_connections = max(2, open_files // 2, open_files - OTHER_FILES)
    reserved = min(limits.reserved, max(1, for_connections // 4))
    total = min(limits.total, for_connections - reserved)
    per_address = -(-total // 2) if limits.per_address is None else min(limits.per_address, total)
    return ConnectionLimits(total, per_address, reserved)
