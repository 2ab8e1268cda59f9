"""POST one signed callback and classify the response."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from types import TracebackType
from typing import Final, Self

import httpx

from callbacks.retry import parse_retry_after
from callbacks.signing import MAX_KEY_BYTES, MIN_KEY_BYTES, signature_headers
from callbacks.signing_clock import SigningClock

CONNECT_TIMEOUT_SECONDS: Final = 5.0
READ_TIMEOUT_SECONDS: Final = 30.0
MAX_RETRY_AFTER_SECONDS: Final = 60.0

_MAX_RESPONSE_BYTES: Final = 64 * 1024
# Loggers of the HTTP client, which write URLs.
_CLIENT_LOGGERS: Final = ("httpx", "httpcore.connection", "httpcore.http11")


class Outcome(Enum):
    """What a response means for the run."""

    STORED = auto()
    STOP = auto()
    UNAUTHORIZED = auto()
    REJECTED = auto()
    UNAVAILABLE = auto()


_OUTCOMES: Final = {
    200: Outcome.STORED,
    401: Outcome.UNAUTHORIZED,
    404: Outcome.STOP,
    410: Outcome.STOP,
    413: Outcome.REJECTED,
    415: Outcome.REJECTED,
    422: Outcome.REJECTED,
}


@dataclass(frozen=True, slots=True)
class CallbackResponse:
    """The classified response; `reason` (a status, or the kind of a network error) is safe to log."""

    outcome: Outcome
    reason: str
    retry_after_seconds: float | None = None


def classify_status(status: int) -> Outcome:
    """Classify a status; one that the contract does not name comes from a proxy, and is retried."""
    return _OUTCOMES.get(status, Outcome.UNAVAILABLE)


class CallbackTransport:
    """An HTTP client for one callback URL, used by one thread."""

    def __init__(
        self,
        url: str,
        key: bytes,
        *,
        now: Callable[[], float],
        read_timeout_seconds: float = READ_TIMEOUT_SECONDS,
    ) -> None:
        """`now` returns seconds since 1970. Raises ValueError, without quoting it, for an invalid URL or key."""
        _check_url(url)
        if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
            raise ValueError(f"a callback key has {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes")
        self._url = url
        self._key = key
        self._now = now
        self._clock = SigningClock(now)
        self._timeout = httpx.Timeout(read_timeout_seconds, connect=CONNECT_TIMEOUT_SECONDS)

    def __enter__(self) -> Self:
        self._log_filter = _mute_client_logs()
        for name in _CLIENT_LOGGERS:
            logging.getLogger(name).addFilter(self._log_filter)
        self._client = httpx.Client(
            timeout=self._timeout,
            trust_env=False,
            follow_redirects=False,
            # Loading the certificates takes 15 ms.
            verify=False if httpx.URL(self._url).scheme == "http" else httpx.create_ssl_context(),
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()
        for name in _CLIENT_LOGGERS:
            logging.getLogger(name).removeFilter(self._log_filter)

    def post(self, message_id: str, body: bytes) -> CallbackResponse:
        """Sign and post `body` once; network errors are responses too (UNAVAILABLE)."""
        headers = signature_headers(self._key, message_id, int(self._clock.time()), body)
        headers["content-type"] = "application/json"
        try:
            with self._client.stream("POST", self._url, content=body, headers=headers) as response:
                _drain(response)
        except (httpx.HTTPError, OSError) as failure:
            return CallbackResponse(Outcome.UNAVAILABLE, type(failure).__name__)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            self._clock.correct(response.headers)  # the next try is signed with the corrected time
        wait = parse_retry_after(
            response.headers.get("retry-after"), now=self._now(), max_seconds=MAX_RETRY_AFTER_SECONDS
        )
        return CallbackResponse(classify_status(response.status_code), str(response.status_code), wait)


def _mute_client_logs() -> Callable[[logging.LogRecord], bool]:
    """Return a log filter that drops the records of this thread."""
    thread_id = threading.get_ident()
    return lambda _: threading.get_ident() != thread_id


def _check_url(url: str) -> None:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        raise ValueError("the callback URL is malformed") from None
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise ValueError("the callback URL is not an http or https URL")


def _drain(response: httpx.Response) -> None:
    """Read a small body, so that the connection can be reused; drop the rest of a large one."""
    size = 0
    for chunk in response.iter_raw():
        size += len(chunk)
        if size > _MAX_RESPONSE_BYTES:
            return
