"""The client for programs with an event loop; `Client` is made from it."""

import os
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, Unpack

from framehook.async_webhooks import AsyncWebhooks
from framehook.batches.async_batches import AsyncBatches
from framehook.errors import Conflict
from framehook.export_calls import ExportCalls
from framehook.http_client import DEFAULT_RETRIES, HttpClient
from framehook.keys.key_calls import KeyCalls
from framehook.models import Export, Output
from framehook.options import ExportOptions, ExportOrId, Filters, ignore, job_id_of
from framehook.settings import Token, TokenSource, parse_url
from framehook.streams.stream_reader import OnDisconnect
from framehook.streams.watch import ExportsWatch, raise_unless_complete, watch_export
from framehook.transfers.download import download_output, download_path, target_of, write_output
from framehook.transfers.resume_state import ResumeState, default_folder
from framehook.transfers.source_file import Source, SourceFile
from framehook.transfers.upload import OnBytes, Upload
from framehook.transports.base import DEFAULT_TIMEOUT_SECONDS, Transport
from framehook.transports.event_loop import AsyncTransport

OnState = Callable[[Export], object]


class AsyncClient(ExportCalls, KeyCalls):
    """Client of one service for one user, on asyncio or trio.

    `base_url` and `token` default to FRAMEHOOK_URL and FRAMEHOOK_TOKEN. `token` may be a function, also an async one,
    that returns a fresh token; it is called again when the last one has expired. `timeout_seconds` limits a silence of
    the service. Calls that can safely be repeated are, `retries` times and with growing delays. `resume_folder` keeps
    the state of interrupted uploads. `transport` is for tests.
    """

    def __init__(
        self,
        base_url: str | None = None,
        token: TokenSource = None,
        *,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        retries: int = DEFAULT_RETRIES,
        resume_folder: Path | None = None,
        transport: Transport | None = None,
    ) -> None:
        url, is_local = parse_url(base_url)
        # A proxy from the environment can't reach the loopback interface of this machine.
        transport = transport or AsyncTransport(timeout_seconds=timeout_seconds, trust_env=not is_local)
        super().__init__(HttpClient(url, Token(token), transport, retries))
        self._resume_state = ResumeState(resume_folder or default_folder())
        self.batches = AsyncBatches(self._http)
        self.webhooks = AsyncWebhooks(self._http)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.transport.close()

    @property
    def base_url(self) -> str:
        """The URL of the service."""
        return self._http.url

    async def is_ready(self) -> bool:
        """Tell whether the service reports itself ready; sends one request."""
        return await self._http.is_ready()

    async def upload(
        self,
        source: Source,
        *,
        filename: str | None = None,
        content_type: str | None = None,
        on_progress: OnBytes = ignore,
        resumable: bool = True,
    ) -> str:
        """Upload a video, a path or an open binary file, and return its key.

        A large file is sent in parts. With `resumable`, the next upload of the same path goes on where an interrupted
        one has stopped, even in another process. `on_progress` is called with the bytes sent so far, and the total.
        """
        state = self._resume_state if resumable else ResumeState(None)
        with await self._http.transport.call(SourceFile, source, filename) as file:
            return await Upload(self._http, file, on_progress, state, content_type).run()

    async def watch(
        self,
        export: ExportOrId | None = None,
        *,
        on_disconnect: OnDisconnect = ignore,
        **filters: Unpack[Filters],
    ) -> AsyncGenerator[Export, None]:
        """Yield each newer state of an export until the final one; without an export, of all that pass the filters.

        Reconnects after lost connections and restarts of the service, and calls `on_disconnect` with the reason of
        each. Some states may be left out, never the final one. Raises Unauthenticated if the token expires and can't
        be renewed, Unreachable after ten minutes without a response.
        """
        if export is None:
            states = ExportsWatch(self._http, filters, on_disconnect).states()
        elif filters:
            raise TypeError("give an export or filters, not both")
        else:
            states = watch_export(self._http, job_id_of(export), on_disconnect)
        async with aclosing(states):
            async for state in states:
                yield state

    async def wait(
        self, export: ExportOrId, *, timeout_seconds: float | None = None, on_state: OnState = ignore
    ) -> Export:
        """Wait until an export is complete and return it; `on_state` is called with each newer state.

        Raises ExportFailed or ExportCancelled, and TimeoutError, after which the export is still running.
        """
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        states = watch_export(self._http, job_id_of(export), ignore, deadline)
        async with aclosing(states):
            async for state in states:
                on_state(state)
        return raise_unless_complete(state)

    async def download(
        self, export: ExportOrId, path: str | os.PathLike[str], *, on_progress: OnBytes = ignore
    ) -> Path:
        """Save the result to a file or into a folder, and return its path.

        The file appears once it is complete and its checksum matches. An interrupted download leaves a file that ends
        with `.part`, from which the next one goes on.
        """
        job, output = await self._load_output(export)
        target = await self._http.transport.call(target_of, Path(path), job.output_key or job.job_id)
        await download_output(self._http, download_path(job), target, output, on_progress)
        return target

    async def download_to(self, export: ExportOrId, file: BinaryIO, *, on_progress: OnBytes = ignore) -> None:
        """Write the result to an open binary file as it arrives, such as a pipe.

        Raises CorruptTransfer at the end if the checksum of what was written is wrong.
        """
        job, output = await self._load_output(export)
        await write_output(self._http, download_path(job), file, output, on_progress)

    async def _load_output(self, export: ExportOrId) -> tuple[Export, Output]:
        if not (isinstance(export, Export) and export.output):
            export = await self.get(export)
        if export.output is None:
            detail = f"The export is {export.status}; its file can be downloaded once it is complete."
            raise Conflict(409, detail, code="not_complete")
        return export, export.output

    async def export(
        self,
        source: Source,
        type: str,  # noqa: A002 - its name on the wire
        config: Mapping[str, Any],
        *,
        output: str | os.PathLike[str] | None = None,
        filename: str | None = None,
        on_progress: OnBytes = ignore,
        on_state: OnState = ignore,
        timeout_seconds: float | None = None,
        **options: Unpack[ExportOptions],
    ) -> Export:
        """Upload a video, export it, wait for the result, and save it to `output` if that is given.

        `config` is without `input_key`. Raises what `upload`, `create_export`, `wait` and `download` raise.
        """
        key = await self.upload(source, filename=filename, on_progress=on_progress)
        job = await self.create_export(type, {**config, "input_key": key}, **options)
        result = await self.wait(job, timeout_seconds=timeout_seconds, on_state=on_state)
        if output is not None:
            await self.download(result, output)
        return result
