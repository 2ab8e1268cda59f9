"""HTTP calls to one service: authentication, retries and typed responses."""

import json
import random
import re
import time
from collections.abc import Callable, Iterable, Mapping, Set
from contextlib import AbstractContextManager
from typing import TypeVar

import httpx
import msgspec

from framehook.errors import ClientError, UnexpectedResponse, Unreachable, describe_error, rejection_from
from framehook.eventsource import MAX_DELAY_SECONDS, ReconnectBackoff

MAX_TRIES = 3
STREAM_TIMEOUT_SECONDS = 45.0  # streams carry a comment every 15 s: with three missed the connection is dead

RETRYABLE_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
_UNAVAILABLE_STATUSES = frozenset({502, 503, 504})
_TOKEN = re.compile(r"[!-~]+")
_LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})

Response = TypeVar("Response", bound=msgspec.Struct)
TokenSource = str | Callable[[], str] | None
"""A bearer token, or a function that returns one that is valid now."""


class HttpClient:
    """HTTP client of one service and one user; `sleep` and `jitter` are used between tries."""

    def __init__(
        self,
        url: str,
        token: TokenSource = None,
        *,
        sleep: Callable[[float], object] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.url, host = _parse_server_url(url)
        self.sleep = sleep
        self.jitter = jitter
        self._token = token
        if not self.can_renew:
            self._authorization()  # reports an invalid token at once
        # A proxy from the environment can't reach the loopback interface of this machine.
        self._http = httpx.Client(
            timeout=httpx.Timeout(30, connect=10), trust_env=host not in _LOOPBACK_HOSTS
        )

    def close(self) -> None:
        self._http.close()

    @property
    def can_renew(self) -> bool:
        """Tell whether an expired token can be replaced by a new one."""
        return callable(self._token)

    def _authorization(self) -> dict[str, str]:
        return _authorization_headers(self._token() if callable(self._token) else self._token)

    def request_json(
        self,
        method: str,
        path: str,
        type_: type[Response],
        *,
        body: Mapping[str, object] | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        tries: int = MAX_TRIES,
    ) -> Response:
        """Send a request and decode its response; pass `tries=1` if it is not idempotent."""
        extra = dict(headers or {})
        content = None if body is None else json.dumps(body).encode()
        if content is not None:
            extra["Content-Type"] = "application/json"
        url = self.url + path
        response = self.with_retries(
            lambda: self._http.request(
                method, url, content=content, params=query, headers=self._authorization() | extra
            ),
            tries,
        )
        return self.decode(response.content, type_)

    def _unreachable(self, error: httpx.RequestError) -> Unreachable:
        """Name the host that does not respond and, if it is the service itself, say what to do."""
        origin = _origin(error)
        advice = (
            "; start it with `framehook serve`, or set another URL with --server or FRAMEHOOK_URL"
            if isinstance(error, httpx.ConnectError)
            and httpx.URL(self.url).netloc == error.request.url.netloc
            else ""
        )
        return Unreachable(f"{origin} can't be reached: {describe_error(error)}{advice}")

    def request(self, method: str, path: str) -> None:
        """Send a request whose successful response has no body."""
        self.with_retries(lambda: self._http.request(method, self.url + path, headers=self._authorization()))

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: Callable[[], Iterable[bytes]],
        tries: int = MAX_TRIES,
        retryable: Set[int] = _UNAVAILABLE_STATUSES,
    ) -> None:
        """Send a body to a presigned URL.

        The bearer token is not sent: the URL may belong to a storage provider.
        """
        self.with_retries(
            lambda: self._http.request(method, url, headers=headers, content=content()), tries, retryable
        )

    def stream(
        self, path: str, *, headers: Mapping[str, str] | None = None, read_seconds: float = 30.0
    ) -> AbstractContextManager[httpx.Response]:
        """Open a response to be read in chunks; redirects are followed, without the token."""
        timeout = httpx.Timeout(30, connect=10, read=read_seconds)
        all_headers = self._authorization() | dict(headers or {})
        return self._http.stream(
            "GET", self.url + path, headers=all_headers, timeout=timeout, follow_redirects=True
        )

    def is_ready(self) -> bool:
        """Tell whether the service reports itself ready; sends one request."""
        try:
            return self._http.get(f"{self.url}/readyz").is_success
        except httpx.RequestError:
            return False

    def with_retries(
        self,
        send: Callable[[], httpx.Response],
        tries: int = MAX_TRIES,
        retryable: Set[int] = _UNAVAILABLE_STATUSES,
    ) -> httpx.Response:
        """Return a successful response; retry connection errors and `retryable` statuses."""
        backoff = ReconnectBackoff(self.jitter)
        for tries_left in range(tries - 1, -1, -1):
            requested_seconds = 0.0
            try:
                response = send()
            except httpx.RequestError as error:
                if not tries_left:
                    raise self._unreachable(error) from error
            except httpx.InvalidURL as error:
                raise self.response_error() from error
            else:
                if response.is_success:
                    return response
                requested_seconds = retry_after_seconds(response)
                can_retry = response.status_code in retryable and requested_seconds <= MAX_DELAY_SECONDS
                if not (tries_left and can_retry):
                    raise rejection_from(response)
            self.sleep(backoff.next_delay(requested_seconds))
        raise AssertionError("there is at least one try")

    def decode(self, body: bytes | str, type_: type[Response]) -> Response:
        """Decode JSON as a type; raises UnexpectedResponse."""
        try:
            return msgspec.json.decode(body, type=type_)
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise self.response_error() from error

    def response_error(self) -> UnexpectedResponse:
        return UnexpectedResponse(f"the server at {self.url} is not a Framehook service of this version")


def retry_after_seconds(response: httpx.Response) -> float:
    """Return the delay that a response requests; 0 if it requests none, or gives a date."""
    value = response.headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdecimal() else 0.0


def _origin(error: httpx.RequestError) -> str:
    """Return scheme and host of a request; the rest of its URL may be a secret."""
    url = error.request.url
    return f"{url.scheme}://{url.netloc.decode()}"


def _parse_server_url(url: str) -> tuple[str, str]:
    """Return the service's URL without a trailing slash, and its host."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL("")
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.userinfo or parsed.query:
        raise ClientError(
            "the URL of the service must look like http://127.0.0.1:8000, without user, password or query"
        )
    return str(parsed).rstrip("/"), parsed.host


def _authorization_headers(token: str | None) -> dict[str, str]:
    token = (token or "").strip()
    if token and not _TOKEN.fullmatch(token):
        raise ClientError("the token contains invalid characters; copy it without spaces and line breaks")
    return {"Authorization": f"Bearer {token}"} if token else {}
