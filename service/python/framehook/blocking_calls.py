"""The calls on exports that are one request each, for programs without an event loop."""

from collections.abc import Generator, Iterable, Mapping
from datetime import date
from typing import Any, Generic, TypeVar, Unpack

from framehook.batches.models import ChangedExports
from framehook.estimates import DescribedSource, Estimate
from framehook.export_calls import PAGE_LIMIT, ExportCalls
from framehook.models import DownloadUrl, Export, Page, Timeline, Upload
from framehook.options import ExportEdits, ExportOptions, ExportOrId, Filters
from framehook.transports.blocking import iterate, run
from framehook.usages import GroupBy, Usage

AnyClient = TypeVar("AnyClient", bound=ExportCalls)


class BlockingExportCalls(Generic[AnyClient]):
    """Requests on the exports of a user; each method does what that of `ExportCalls` does."""

    def __init__(self, client: AnyClient) -> None:
        self._client = client

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
        *,
        source: DescribedSource | None = None,
        **options: Unpack[ExportOptions],
    ) -> Estimate:
        """Return what an export would take and become, without creating it."""
        return run(self._client.estimate(type, config, source=source, **options))

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

    def cancel_all(
        self, exports: Iterable[ExportOrId] | None = None, **filters: Unpack[Filters]
    ) -> ChangedExports:
        """Cancel those of the given exports, or of all that pass the filters, that have not ended."""
        return run(self._client.cancel_all(exports, **filters))

    def retry_all(
        self, exports: Iterable[ExportOrId] | None = None, **filters: Unpack[Filters]
    ) -> ChangedExports:
        """Start new attempts of those of the given exports, or of all that pass the filters, that did not complete."""
        return run(self._client.retry_all(exports, **filters))

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
