"""The client for programs without an event loop."""

import os
from collections.abc import Generator, Iterable, Mapping
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, Unpack

from framehook.async_client import AsyncClient, OnState
from framehook.estimates import Estimate
from framehook.export_calls import PAGE_LIMIT
from framehook.http_client import DEFAULT_RETRIES
from framehook.models import DownloadUrl, Export, Page, Timeline, Upload
from framehook.options import ExportEdits, ExportOptions, ExportOrId, Filters, ignore
from framehook.settings import TokenSource, parse_url
from framehook.streams.stream_reader import OnDisconnect
from framehook.transfers.source_file import Source
from framehook.transfers.upload import OnBytes
from framehook.transports.base import DEFAULT_TIMEOUT_SECONDS, Transport
from framehook.transports.blocking import BlockingTransport, iterate, run
from framehook.usages import GroupBy, Usage
from framehook.webhooks import Webhooks


class Client:
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
        self._client = AsyncClient(
            base_url,
            token,
            retries=retries,
            resume_folder=resume_folder,
            transport=transport or BlockingTransport(timeout_seconds=timeout_seconds, trust_env=not is_local),
        )
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

    def create_export(
        self,
        type: str,  # noqa: A002 - its name on the wire
        config: Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
        **options: Unpack[ExportOptions],
    ) -> Export:
        """Create an export of the video that `config["input_key"]` names."""
        return run(self._client.create_export(type, config, idempotency_key=idempotency_key, **options))

    def estimate(
        self,
        type: str,  # noqa: A002 - its name on the wire
        config: Mapping[str, Any],
        **options: Unpack[ExportOptions],
    ) -> Estimate:
        """Return what an export would take and become, without creating it."""
        return run(self._client.estimate(type, config, **options))

    def get(self, export: ExportOrId) -> Export:
        """Return the present state of an export."""
        return run(self._client.get(export))

    def list(self, **filters: Unpack[Filters]) -> Generator[Export, None, None]:
        """Yield exports, newest first; pages are loaded as they are needed."""
        return iterate(self._client.list(**filters))

    def list_page(
        self, *, limit: int = PAGE_LIMIT, cursor: str | None = None, **filters: Unpack[Filters]
    ) -> Page:
        """Return one page of exports, newest first; its `next_cursor` leads to the next."""
        return run(self._client.list_page(limit=limit, cursor=cursor, **filters))

    def list_active(self) -> tuple[Export, ...]:
        """Return the exports that are pending or processing."""
        return run(self._client.list_active())

    def list_recent(self, *, hours: float = 24) -> tuple[Export, ...]:
        """Return the exports that are active or have ended in the last hours."""
        return run(self._client.list_recent(hours=hours))

    def list_unacknowledged(self) -> tuple[Export, ...]:
        """Return the exports that have ended and were not acknowledged."""
        return run(self._client.list_unacknowledged())

    def acknowledge(self, exports: Iterable[ExportOrId] | None = None) -> tuple[Export, ...]:
        """Mark exports that have ended, all of them if none are given, as seen; return them."""
        return run(self._client.acknowledge(exports))

    def edit(self, export: ExportOrId, **edits: Unpack[ExportEdits]) -> Export:
        """Change the name, the metadata or the project of an export in any state; None removes what is named."""
        return run(self._client.edit(export, **edits))

    def cancel(self, export: ExportOrId) -> Export:
        """Cancel an export; raises Conflict if it has ended otherwise."""
        return run(self._client.cancel(export))

    def purge(self, export: ExportOrId) -> None:
        """Erase an export in any state for good: its file, its config, its timeline and what was sent of it."""
        run(self._client.purge(export))

    def list_uploads(self) -> Generator[Upload, None, None]:
        """Yield uploaded files, newest first; pages are loaded as they are needed."""
        return iterate(self._client.list_uploads())

    def delete_upload(self, key: str) -> None:
        """Delete an uploaded file; raises Conflict while an active export reads it."""
        run(self._client.delete_upload(key))

    def retry(self, export: ExportOrId) -> Export:
        """Start a new attempt of a failed or cancelled export; sent once, for a second would be rejected."""
        return run(self._client.retry(export))

    def timeline(self, export: ExportOrId) -> Timeline:
        """Return how long each phase has taken so far, and what it cost."""
        return run(self._client.timeline(export))

    def usage(
        self, *, first: date | None = None, last: date | None = None, group_by: GroupBy = "day"
    ) -> Usage:
        """Return what the exports took and cost that ended from one day to another, the last 30 days by default."""
        return run(self._client.usage(first=first, last=last, group_by=group_by))

    def download_url(
        self, export: ExportOrId, *, disposition: str = "attachment", expires_in: int | None = None
    ) -> DownloadUrl:
        """Return a URL of the result that needs no token, for a page or a player."""
        return run(self._client.download_url(export, disposition=disposition, expires_in=expires_in))
