"""Send requests and wait in the thread of the caller.

Coroutines over this transport never suspend, so `run` completes them in one step.
"""

import random
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import httpx

from framehook.transports.base import DEFAULT_TIMEOUT_SECONDS, Call, P, Request, T, mute_logs, timeout_of


class BlockingTransport:
    """Transport of `Client`; its coroutines never suspend."""

    def __init__(
        self,
        *,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        trust_env: bool = True,
        sleep: Callable[[float], object] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._http = httpx.Client(
            timeout=timeout_of(timeout_seconds), trust_env=trust_env, verify=httpx.create_ssl_context()
        )
        self._sleep = sleep
        self.jitter = jitter

    async def send(self, request: Request) -> httpx.Response:
        content = iterate(request.chunks()) if request.chunks else request.content
        with mute_logs():
            return self._http.send(request.build(self._http, content))

    @asynccontextmanager
    async def open(self, request: Request) -> AsyncGenerator[httpx.Response, None]:
        with mute_logs():
            response = self._http.send(request.build(self._http), stream=True, follow_redirects=True)
        try:
            yield response
        finally:
            response.close()

    async def read_chunks(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        for chunk in response.iter_raw():  # unbuffered, so that an interruption loses no bytes
            yield chunk

    async def sleep(self, seconds: float) -> None:
        self._sleep(seconds)

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return function(*args, **kwargs)

    async def run_parallel(self, calls: Sequence[Call[T]], limit: int, stop: Callable[[], None]) -> list[T]:
        with ThreadPoolExecutor(limit, thread_name_prefix="framehook") as threads:
            tasks = [threads.submit(_run_call, call) for call in calls]
            try:
                return [task.result() for task in tasks]
            except BaseException:
                stop()
                threads.shutdown(wait=False, cancel_futures=True)
                raise

    async def close(self) -> None:
        self._http.close()


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine over a blocking transport."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coroutine.close()
    raise TypeError("Client was given an async function; use AsyncClient")


def iterate(generator: AsyncGenerator[T, None]) -> Generator[T, None, None]:
    """Yield what an async generator over a blocking transport yields."""
    try:
        while True:
            try:
                item = run(generator.__anext__())
            except StopAsyncIteration:
                return
            yield item
    finally:
        run(generator.aclose())


def _run_call(call: Call[T]) -> T:
    return run(call())
