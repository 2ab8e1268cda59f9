"""What a client needs to send requests and to wait.

The client is written once, as coroutines over a transport: `AsyncTransport` waits on an event loop, `BlockingTransport`
in the thread of the caller.
"""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, ParamSpec, Protocol, TypeVar

import httpx

T = TypeVar("T")
P = ParamSpec("P")

Call = Callable[[], Coroutine[Any, Any, T]]
DEFAULT_TIMEOUT_SECONDS = 30.0
MAX_CONNECT_SECONDS = 10.0
_HTTP_LOGGERS = ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.proxy")


@dataclass(frozen=True)
class Request:
    """One HTTP request; `chunks` is called for each try, `read_seconds` limits a silence of the server."""

    method: str
    url: str
    headers: dict[str, str]
    query: dict[str, str | list[str]] = field(default_factory=dict)
    content: bytes | None = None
    chunks: Callable[[], AsyncGenerator[bytes, None]] | None = None
    read_seconds: float | None = None

    def build(self, http: httpx.Client | httpx.AsyncClient, content: Any = None) -> httpx.Request:
        """Convert to a request of this client; a file's content is an iterator of the client's kind."""
        timeout = http.timeout
        if self.read_seconds is not None:
            timeout = httpx.Timeout(
                connect=http.timeout.connect,
                read=self.read_seconds,
                write=http.timeout.write,
                pool=http.timeout.pool,
            )
        content = self.content if content is None else content
        return http.build_request(
            self.method,
            self.url,
            headers=self.headers,
            params=self.query or None,
            content=content,
            timeout=timeout,
        )


class Transport(Protocol):
    """How a client sends requests and waits; `jitter` is random, from 0 to 1."""

    jitter: Callable[[], float]

    async def send(self, request: Request) -> httpx.Response:
        """Send a request and read the whole response; redirects are responses, too."""
        ...

    def open(self, request: Request) -> AbstractAsyncContextManager[httpx.Response]:
        """Send a request; its body is read by `read_chunks`. Redirects are followed, to other hosts without token."""
        ...

    def read_chunks(self, response: httpx.Response) -> AsyncIterator[bytes]:
        """Yield the body of an open response as it arrives."""
        ...

    async def sleep(self, seconds: float) -> None: ...

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function that reads or writes files."""
        ...

    async def run_parallel(self, calls: Sequence[Call[T]], limit: int, stop: Callable[[], None]) -> list[T]:
        """Return the results of all calls; `stop` is called at the first error, which is raised."""
        ...

    async def close(self) -> None: ...


def timeout_of(seconds: float) -> httpx.Timeout:
    """Return the limits of a silence of the server, and of the time to connect."""
    return httpx.Timeout(seconds, connect=min(seconds, MAX_CONNECT_SECONDS))


_is_muted: ContextVar[bool] = ContextVar("framehook_is_muted", default=False)


@contextmanager
def mute_logs() -> Iterator[None]:
    """Drop what the HTTP library logs: signed URLs are secrets."""
    token = _is_muted.set(True)
    try:
        yield
    finally:
        _is_muted.reset(token)


def _is_loggable(_record: logging.LogRecord) -> bool:
    return not _is_muted.get()


for _name in _HTTP_LOGGERS:
    logging.getLogger(_name).addFilter(_is_loggable)
