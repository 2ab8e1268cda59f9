"""The client for programs without an event loop."""

import os
from collections.abc import Generator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, Unpack

from framehook.async_client import AsyncClient, OnState
from framehook.batches.batches import Batches
from framehook.blocking_calls import BlockingExportCalls
from framehook.http_client import DEFAULT_RETRIES
from framehook.keys.blocking_key_calls import BlockingKeyCalls
from framehook.models import Export
from framehook.options import ExportOptions, ExportOrId, Filters, ignore
from framehook.settings import TokenSource, parse_url
from framehook.streams.stream_reader import OnDisconnect
from framehook.transfers.source_file import Source
from framehook.transfers.upload import OnBytes
from framehook.transports.base import DEFAULT_TIMEOUT_SECONDS, Transport
from framehook.transports.blocking import BlockingTransport, iterate, run
from framehook.webhooks import Webhooks


class Client(BlockingExportCalls[AsyncClient], BlockingKeyCalls[AsyncClient]):
    """Client of one service for one user; each method does what that of `AsyncClient` does, in the caller's thread.

    `base_url` and `token` default to FRAMEHOOK_URL and FRAMEHOOK_TOKEN. `token` may be a function that returns a fresh
    token; it is called again when the last one has expired. `timeout_seconds` limits a silence of the service. Calls
    that can safely be repeated are, `retries` times and with growing delays. `resume_folder` keeps the state of
    interrupted uploads. `transport` is for tests.
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
        _, is_local = parse_url(base_url)
        super().__init__(
            AsyncClient(
                base_url,
                token,
                retries=retries,
                resume_folder=resume_folder,
                transport=transport
                or BlockingTransport(timeout_seconds=timeout_seconds, trust_env=not is_local),
            )
        )
        self.batches = Batches(self._client.batches)
        self.webhooks = Webhooks(self._client.webhooks)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        run(self._client.close())

    @property
    def base_url(self) -> str:
        """The URL of the service."""
        return self._client.base_url

    def is_ready(self) -> bool:
        """Tell whether the service reports itself ready; sends one request."""
        return run(self._client.is_ready())

    def upload(
        self,
        source: Source,
        *,
        filename: str | None = None,
        content_type: str | None = None,
        on_progress: OnBytes = ignore,
        resumable: bool = True,
    ) -> str:
        """Upload a video, a path or an open binary file, and return its key."""
        return run(
            self._client.upload(
                source,
                filename=filename,
                content_type=content_type,
                on_progress=on_progress,
                resumable=resumable,
            )
        )

    def watch(
        self,
        export: ExportOrId | None = None,
        *,
        on_disconnect: OnDisconnect = ignore,
        **filters: Unpack[Filters],
    ) -> Generator[Export, None, None]:
        """Yield each newer state of an export until the final one; without an export, of all that pass the filters."""
        return iterate(self._client.watch(export, on_disconnect=on_disconnect, **filters))

    def wait(
        self, export: ExportOrId, *, timeout_seconds: float | None = None, on_state: OnState = ignore
    ) -> Export:
        """Wait until an export is complete and return it; `on_state` is called with each newer state."""
        return run(self._client.wait(export, timeout_seconds=timeout_seconds, on_state=on_state))

    def download(
        self, export: ExportOrId, path: str | os.PathLike[str], *, on_progress: OnBytes = ignore
    ) -> Path:
        """Save the result to a file or into a folder, and return its path."""
        return run(self._client.download(export, path, on_progress=on_progress))

    def download_to(self, export: ExportOrId, file: BinaryIO, *, on_progress: OnBytes = ignore) -> None:
        """Write the result to an open binary file as it arrives, such as a pipe."""
        run(self._client.download_to(export, file, on_progress=on_progress))

    def export(
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
        """Upload a video, export it, wait for the result, and save it to `output` if that is given."""
        return run(
            self._client.export(
                source,
                type,
                config,
                output=output,
                filename=filename,
                on_progress=on_progress,
                on_state=on_state,
                timeout_seconds=timeout_seconds,
                **options,
            )
        )
