"""The service's own logging: what is said, and how."""

import logging

from callbacks.log_format import log_to_stderr

QUIET = ("aiosqlite", "alembic", "httpcore", "httpx", "uvicorn.access", "websockets")


def configure_logging(log_format: str, level: int = logging.INFO) -> None:
    """Send every record to standard error, in one of the two formats; libraries say warnings only."""
    log_to_stderr(log_format, level)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
