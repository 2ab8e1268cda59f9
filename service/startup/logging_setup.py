"""Logging of the service."""

import hmac
import logging
from typing import Final, Literal

from callbacks.log_format import LineFormatter, log_to_stderr
from infra.telemetry import RequestIdFilter

NOISY_LOGGERS = ("aiosqlite", "alembic", "httpcore", "httpx", "uvicorn.access", "websockets")
HASH_CHARACTERS: Final = 16


def configure_logging(log_format: str, level: int = logging.INFO) -> None:
    """Log to standard error as `text` or `json`; noisy libraries log warnings only."""
    log_to_stderr(log_format, level)
    for handler in logging.getLogger().handlers:
        handler.addFilter(RequestIdFilter())
    for name in NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)


def hash_user(key: bytes, user: str) -> str:
    """Return the hash of a user's id: the same on every replica, and without the key it leads back to no user."""
    return hmac.digest(key, user.encode(), "sha256").hex()[:HASH_CHARACTERS]


def show_users(mode: Literal["plain", "hashed", "none"], key: bytes) -> None:
    """Write the ids of users to the log as they are, as hashes with this key, or not at all."""
    shown = {
        "plain": lambda user: user,
        "hashed": lambda user: hash_user(key, user),
        "none": lambda _user: None,
    }[mode]
    for handler in logging.getLogger().handlers:
        if isinstance(handler.formatter, LineFormatter):
            handler.formatter.show_user = shown
