"""HTTP to one service: the token, the tries, and answers as types."""

import json
import random
import re
import time
from collections.abc import Callable, Iterable, Mapping, Set
from contextlib import AbstractContextManager
from typing import TypeVar

import httpx
import msgspec

from service.client.errors import ClientError, UnexpectedResponse, Unreachable, describe_error, rejection_from
from service.client.eventsource import MAX_DELAY_SECONDS, ReconnectBackoff

TRIES = 3
SILENCE_SECONDS = 45.0  # streams carry a comment every 15 s: with three missed the connection is dead

RETRYABLE_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})

_UNAVAILABLE_STATUSES = frozenset({502, 503, 504})
_TOKEN = re.compile(r"[!-~]+")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

ResponseModel = TypeVar("ResponseModel", bound=msgspec.Struct)
Token = str | Callable[[], str] | None
"""A bearer token, or what gives one that is valid now."""


class HttpClient:
    """Calls to one service as one user; `sleep` and `jitter` are how it waits between tries."""

    def __init__(
        self,
        url: str,
        token: Token = None,
        *,
        sleep: Callable[[float], object] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.url, host = _checked(url)
        self.sleep = sleep
        self.jitter = jitter
        self._token = token
        if not self.can_renew:
            self._authorization()  # says at once what is wrong with it
        # A proxy that the environment names can't reach this machine's own loopback.
        self._http = httpx.Client(timeout=httpx.Timeout(30, connect=10), trust_env=host not in _LOOPBACK)

    def close(self) -> None:
        self._http.close()

    @property
    def can_renew(self) -> bool:
        """Whether another token can be had when this one has ended."""
        return callable(self._token)

    def _authorization(self) -> dict[str, str]:
        return _authorization(self._token() if callable(self._token) else self._token)

    def request_json(
        self,
        method: str,
        path: str,
        type_: type[ResponseModel],
        *,
        body: Mapping[str, object] | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        tries: int = TRIES,
    ) -> ResponseModel:
        """What the service answers; one call after another unless it can only be made once."""
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
        return self.read(response.content, type_)

    def _unreachable(self, error: httpx.RequestError) -> Unreachable:
        """Say who does not answer and, if that is the service itself, what to do."""
        origin = _origin(error)
        advice = (
            "; start it with `framehook serve`, or name another with --server or FRAMEHOOK_URL"
            if isinstance(error, httpx.ConnectError)
            and httpx.URL(self.url).netloc == error.request.url.netloc
            else ""
        )
        return Unreachable(f"{origin} can't be reached: {describe_error(error)}{advice}")

    def request(self, method: str, path: str) -> None:
        """What the service answers with nothing but a success."""
        self.with_retries(lambda: self._http.request(method, self.url + path, headers=self._authorization()))

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: Callable[[], Iterable[bytes]],
        tries: int = TRIES,
        passing: Set[int] = _UNAVAILABLE_STATUSES,
    ) -> None:
        """Send a body to a URL that carries its own permission.

        The token stays here: the URL may lead to somebody else's storage.
        """
        self.with_retries(
            lambda: self._http.request(method, url, headers=headers, content=content()), tries, passing
        )

    def stream(
        self, path: str, *, headers: Mapping[str, str] | None = None, read_seconds: float = 30.0
    ) -> AbstractContextManager[httpx.Response]:
        """A response whose body is read bit by bit; redirects are followed, without the token."""
        timeout = httpx.Timeout(30, connect=10, read=read_seconds)
        sent = self._authorization() | dict(headers or {})
        return self._http.stream("GET", self.url + path, headers=sent, timeout=timeout, follow_redirects=True)

    def is_ready(self) -> bool:
        """Whether the service says that it can do its work; asked once."""
        try:
            return self._http.get(f"{self.url}/readyz").is_success
        except httpx.RequestError:
            return False

    def with_retries(
        self,
        send: Callable[[], httpx.Response],
        tries: int = TRIES,
        passing: Set[int] = _UNAVAILABLE_STATUSES,
    ) -> httpx.Response:
        """A successful response, tried for again where the next try may fare better."""
        backoff = ReconnectBackoff(self.jitter)
        for left in range(tries - 1, -1, -1):
            wanted = 0.0
            try:
                response = send()
            except httpx.RequestError as error:
                if not left:
                    raise self._unreachable(error) from error
            except httpx.InvalidURL as error:
                raise self.unexpected_response() from error
            else:
                if response.is_success:
                    return response
                wanted = retry_after_seconds(response)
                again = response.status_code in passing and wanted <= MAX_DELAY_SECONDS
                if not (left and again):
                    raise rejection_from(response)
            self.sleep(backoff.next_delay(wanted))
        raise AssertionError("there is at least one try")

    def read(self, body: bytes | str, type_: type[ResponseModel]) -> ResponseModel:
        """JSON as a type; raises UnexpectedResponse."""
        try:
            return msgspec.json.decode(body, type=type_)
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise self.unexpected_response() from error

    def unexpected_response(self) -> UnexpectedResponse:
        return UnexpectedResponse(f"what answers at {self.url} does not speak as Framehook does")


def retry_after_seconds(response: httpx.Response) -> float:
    """The pause in seconds that a response asks for; 0 if it names none, or a date."""
    value = response.headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdecimal() else 0.0


def _origin(error: httpx.RequestError) -> str:
    """Whom a request went to; the rest of its URL may be a secret."""
    url = error.request.url
    return f"{url.scheme}://{url.netloc.decode()}"


def _checked(url: str) -> tuple[str, str]:
    """The service's URL without a slash at the end, and its host."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL("")
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.userinfo or parsed.query:
        raise ClientError(
            "the service's URL is written like http://127.0.0.1:8000, with no user, password or query"
        )
    return str(parsed).rstrip("/"), parsed.host


def _authorization(token: str | None) -> dict[str, str]:
    token = (token or "").strip()
    if token and not _TOKEN.fullmatch(token):
        raise ClientError("the token holds characters that no token has")
    return {"Authorization": f"Bearer {token}"} if token else {}
