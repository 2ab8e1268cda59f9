"""HTTP transfers with timeouts and retries; URLs are never logged."""

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from callbacks.retry import backoff_seconds, parse_retry_after
from gpu.errors import ExportError

if TYPE_CHECKING:
    import httpx  # importing it takes a fifth of the start-up time, and only exports over HTTP need it

CONNECT_TIMEOUT_SECONDS = 10.0
READ_TIMEOUT_SECONDS = 30.0
MAX_TRIES = 8
MAX_PAUSE_SECONDS = 20.0
MAX_TRANSFER_SECONDS = 6 * 3_600.0
CHUNK_BYTES = 1024 * 1024

_RETRYABLE_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Clock:
    """Time in seconds; tests replace it."""

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class RetryableError(Exception):
    """A failure that a retry may fix; `wait_seconds` is the server's Retry-After."""

    def __init__(self, wait_seconds: float | None = None) -> None:
        super().__init__()
        self.wait_seconds = wait_seconds


def create_http_client() -> "httpx.Client":
    """Return a new client that logs only warnings: other messages contain presigned URLs."""
    import httpx

    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
    timeout = httpx.Timeout(READ_TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS)
    return httpx.Client(
        timeout=timeout, trust_env=False, follow_redirects=False, verify=httpx.create_ssl_context()
    )


def raise_for_retryable(response: "httpx.Response") -> None:
    """Raise RetryableError for a status that a retry may change."""
    if response.status_code in _RETRYABLE_STATUSES:
        header = response.headers.get("retry-after")
        raise RetryableError(parse_retry_after(header, now=time.time(), max_seconds=MAX_PAUSE_SECONDS))


@dataclass
class RetryBudget:
    """How many failures in a row are allowed, and until when; progress resets the count."""

    code: str
    message: str
    deadline: float
    clock: Clock = field(default_factory=Clock)
    failures: int = 0

    def reset(self) -> None:
        """Note that there was progress."""
        self.failures = 0

    def wait(self, failure: Exception) -> None:
        """Wait before the next try, or raise ExportError if there is none."""
        self.failures += 1
        requested_seconds = failure.wait_seconds if isinstance(failure, RetryableError) else None
        pause = max(backoff_seconds(self.failures, random.random), requested_seconds or 0.0)
        if self.failures >= MAX_TRIES or self.clock.monotonic() + pause > self.deadline:
            # Not `from failure`, whose text may contain the URL.
            raise ExportError(self.code, self.message, transient=True) from None
        self.clock.sleep(pause)
