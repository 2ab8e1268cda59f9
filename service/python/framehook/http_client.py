"""HTTP calls to one service: authentication, retries and typed responses."""

import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from typing import TypedDict, TypeVar, Unpack

import httpx
import msgspec

from framehook.errors import (
    FramehookError,
    Problem,
    UnexpectedResponse,
    Unreachable,
    describe_error,
    is_untrusted,
    problem_from,
)
from framehook.legacy_shapes import restore_errors
from framehook.settings import Token
from framehook.streams.eventsource import MAX_DELAY_SECONDS, ReconnectBackoff
from framehook.transports.base import Request, Transport

DEFAULT_RETRIES = 5
TRANSFER_TRIES = 10  # with backoff, so that a restart of the service does not fail a transfer

RETRYABLE_STATUSES = frozenset({408, 425, 429, 502, 503, 504})
FINAL_CODES = frozenset({"storage_misconfigured"})
"""The problems with such a status that no wait mends."""

Response = TypeVar("Response", bound=msgspec.Struct)
Query = Mapping[str, str | float | Sequence[str] | None]


class RequestOptions(TypedDict, total=False):
    """Options of a request; only an idempotent one (the default) is sent again when it may have arrived."""

    body: object
    query: Query
    headers: Mapping[str, str]
    is_idempotent: bool
    tries: int


class HttpClient:
    """HTTP client of one service and one user."""

    def __init__(self, url: str, token: Token, transport: Transport, retries: int) -> None:
        self.url = url
        self.token = token
        self.transport = transport
        self._tries = 1 + retries

    async def request(self, method: str, path: str, **options: Unpack[RequestOptions]) -> httpx.Response:
        """Send a request and return its successful response; raises FramehookError."""
        extra = dict(options.get("headers", {}))
        content = None
        if options.get("body") is not None:
            content = json.dumps(options["body"], allow_nan=False, default=msgspec.to_builtins).encode()
            extra["Content-Type"] = "application/json"
        query = _to_parameters(options.get("query", {}))

        async def send() -> httpx.Response:
            headers = await self.token.headers() | extra
            return await self.transport.send(Request(method, self.url + path, headers, query, content))

        tries = options.get("tries", self._tries)
        is_idempotent = options.get("is_idempotent", True)
        return await self.with_retries(send, tries, is_idempotent=is_idempotent, is_authorized=True)

    async def load(
        self, type_: type[Response], method: str, path: str, **options: Unpack[RequestOptions]
    ) -> Response:
        """Send a request and decode its response."""
        return self.decode((await self.request(method, path, **options)).content, type_)

    async def send_file(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        chunks: Callable[[], AsyncGenerator[bytes, None]],
        retryable: frozenset[int] = RETRYABLE_STATUSES,
    ) -> None:
        """Send a body to a signed URL.

        The token is not sent: the URL may belong to a storage provider.
        """
        request = Request(method, url, dict(headers), chunks=chunks)
        await self.with_retries(lambda: self.transport.send(request), TRANSFER_TRIES, retryable=retryable)

    @asynccontextmanager
    async def open(
        self,
        path: str,
        *,
        method: str = "GET",
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        read_seconds: float | None = None,
    ) -> AsyncGenerator[httpx.Response, None]:
        """Open a response to be read in chunks; redirects are followed, to other hosts without the token.

        Raises httpx.RequestError, too.
        """
        all_headers = await self.token.headers() | dict(headers or {})
        parameters = _to_parameters(query or {})
        request = Request(method, self.url + path, all_headers, parameters, read_seconds=read_seconds)
        async with self.transport.open(request) as response:
            yield response

    async def read_whole(self, response: httpx.Response) -> httpx.Response:
        """Return an open response with its body, such as a problem."""
        chunks = [chunk async for chunk in self.transport.read_chunks(response)]
        content = b"".join(chunks)
        return httpx.Response(
            response.status_code, headers=response.headers, content=content, request=response.request
        )

    async def is_ready(self) -> bool:
        """Tell whether the service reports itself ready; sends one request."""
        try:
            await self.request("GET", "/readyz", tries=1)
        except FramehookError:
            return False
        return True

    async def with_retries(
        self,
        send: Callable[[], Awaitable[httpx.Response]],
        tries: int,
        *,
        retryable: frozenset[int] = RETRYABLE_STATUSES,
        is_idempotent: bool = True,
        is_authorized: bool = False,
    ) -> httpx.Response:
        """Return a successful response.

        Retries connection errors and `retryable` statuses, except FINAL_CODES and what asks to wait for too long, and
        an authorized request once with a new token.
        """
        backoff = ReconnectBackoff(self.transport.jitter)
        may_renew = is_authorized and self.token.can_renew
        while True:
            tries -= 1
            requested_seconds = 0.0
            try:
                response = await send()
            except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
                raise self.response_error() from error
            except httpx.RequestError as error:
                has_arrived = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                if tries <= 0 or (has_arrived and not is_idempotent):
                    raise self._unreachable(error) from error
            else:
                if response.is_success:
                    return response
                problem = problem_from(response, retry_after_seconds(response))
                if response.status_code == httpx.codes.UNAUTHORIZED and may_renew:
                    may_renew = False
                    self.token.forget()
                    continue
                if not (is_idempotent and tries > 0 and _can_wait_for(problem, retryable)):
                    raise problem
                requested_seconds = problem.retry_after_seconds or 0.0
            await self.transport.sleep(backoff.next_delay(requested_seconds))

    def decode(self, body: bytes | str, type_: type[Response]) -> Response:
        """Decode JSON as a type; raises UnexpectedResponse."""
        try:
            try:
                return msgspec.json.decode(body, type=type_)
            except msgspec.ValidationError:
                return msgspec.convert(restore_errors(msgspec.json.decode(body)), type_)
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise self.response_error() from error

    def response_error(self) -> UnexpectedResponse:
        return UnexpectedResponse(f"the server at {self.url} is not a Framehook service of this version")

    def _unreachable(self, error: httpx.RequestError) -> Unreachable:
        """Name the host that does not respond; the rest of its URL may be a secret."""
        url = error.request.url
        is_service = httpx.URL(self.url).netloc == url.netloc
        return Unreachable(
            f"{url.scheme}://{url.netloc.decode()} can't be reached: {describe_error(error)}",
            is_refused=is_service and isinstance(error, httpx.ConnectError) and not is_untrusted(error),
        )


def retry_after_seconds(response: httpx.Response) -> float | None:
    """Return the delay that a response requests, in seconds or until a date; None if it requests none."""
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _can_wait_for(problem: Problem, retryable: frozenset[int]) -> bool:
    if problem.status not in retryable or problem.code in FINAL_CODES:
        return False
    return (problem.retry_after_seconds or 0.0) <= MAX_DELAY_SECONDS


def _to_parameters(query: Query) -> dict[str, str | list[str]]:
    """Return what is set, as text."""
    return {name: _to_texts(value) for name, value in query.items() if value is not None}


def _to_texts(value: str | float | Sequence[str]) -> str | list[str]:
    return str(value) if isinstance(value, str | float | int) else [str(item) for item in value]
