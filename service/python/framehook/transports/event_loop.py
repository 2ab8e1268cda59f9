"""Send requests and wait on an event loop (asyncio or trio)."""

import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
import anyio.to_thread
import httpx

from framehook.transports.base import DEFAULT_TIMEOUT_SECONDS, Call, P, Request, T, mute_logs, timeout_of


class AsyncTransport:
    """Transport of `AsyncClient`."""

    def __init__(
        self,
        *,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        trust_env: bool = True,
        sleep: Callable[[float], Awaitable[object]] = anyio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._http = httpx.AsyncClient(
            timeout=timeout_of(timeout_seconds), trust_env=trust_env, verify=httpx.create_ssl_context()
        )
        self._sleep = sleep
        self.jitter = jitter

    async def send(self, request: Request) -> httpx.Response:
        content = request.chunks() if request.chunks else request.content
        with mute_logs():
            return await self._http.send(request.build(self._http, content))

    @asynccontextmanager
    async def open(self, request: Request) -> AsyncGenerator[httpx.Response, None]:
        with mute_logs():
            response = await self._http.send(request.build(self._http), stream=True, follow_redirects=True)
        try:
            yield response
        finally:
            await response.aclose()

    async def read_chunks(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        async for chunk in response.aiter_raw():  # unbuffered, so that an interruption loses no bytes
            yield chunk

    async def sleep(self, seconds: float) -> None:
        await self._sleep(seconds)

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await anyio.to_thread.run_sync(lambda: function(*args, **kwargs))

    async def run_parallel(self, calls: Sequence[Call[T]], limit: int, stop: Callable[[], None]) -> list[T]:
        results: dict[int, T] = {}
        errors: list[Exception] = []
        queue = iter(enumerate(calls))

        async def work() -> None:
            for number, call in queue:
                try:
                    results[number] = await call()
                except Exception as error:  # noqa: BLE001 - raised below, without the group's wrapping
                    errors.append(error)
                    stop()
                    group.cancel_scope.cancel()
                    return

        async with anyio.create_task_group() as group:
            for _ in range(limit):
                group.start_soon(work)
        if errors:
            raise errors[0]
        return [results[number] for number in range(len(calls))]

    async def close(self) -> None:
        await self._http.aclose()
