"""Logging of the service."""

import logging

from callbacks.log_format import log_to_stderr

NOISY_LOGGERS = ("aiosqlite", "alembic", "httpcore", "httpx", "uvicorn.access", "websockets")


def configure_logging(log_format: str, level: int = logging.INFO) -> None:
    """Log to standard error as `text` or `json`; noisy libraries log warnings only."""
    log_to_stderr(log_format, level)
    for name in NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
