"""What clients may take up: the bounds, and how many connections the machine has files for."""

import resource
import sys
from contextlib import suppress
from dataclasses import dataclass, field

MAX_OPEN_FILES = 65_536


@dataclass(frozen=True)
class ConnectionLimits:
    """The most connections at a time; `reserved` more are for callbacks and health checks alone."""

    total: int = 4_096
    per_address: int | None = None
    """None stands for half of `total`."""
    reserved: int = 32


@dataclass(frozen=True)
class HttpLimits:
    """What one connection may send, and all connections together."""

    head_bytes: int = 64 * 1024
    fields: int = 100
    head_seconds: float = 10.0
    body_seconds: float = 30.0
    linger_seconds: float = 2.0
    connections: ConnectionLimits = field(default_factory=ConnectionLimits)


def open_file_limit() -> int:
    """Return how many files this process may have open, once the soft limit is raised to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
    if soft == resource.RLIM_INFINITY:
        return sys.maxsize
    if soft < wanted:
        with suppress(ValueError, OSError):  # some systems allow less than they say
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return wanted
    return soft


def fit_to_open_files(limits: ConnectionLimits, open_files: int) -> ConnectionLimits:
    """Leave half of the files to all else: the database, videos that are read and written, runs, webhooks."""
    for_connections = max(2, open_files // 2)
    reserved = min(limits.reserved, max(1, for_connections // 4))
    total = min(limits.total, for_connections - reserved)
    per_address = -(-total // 2) if limits.per_address is None else min(limits.per_address, total)
    return ConnectionLimits(total, per_address, reserved)
