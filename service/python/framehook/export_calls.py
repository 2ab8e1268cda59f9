"""The calls on exports that are one request each."""

import uuid
from collections.abc import AsyncGenerator, Iterable, Mapping
from datetime import date
from typing import Any, Literal, Unpack
from urllib.parse import quote

import msgspec

from framehook.batches.models import ChangedExports
from framehook.errors import QuotaExceeded
from framehook.estimates import DescribedSource, Estimate
from framehook.http_client import HttpClient
from framehook.models import DownloadUrl, Export, Exports, Page, Timeline, Upload, Uploads
from framehook.options import (
    ExportEdits,
    ExportOptions,
    ExportOrId,
    Filters,
    drop_none,
    job_id_of,
    to_conditions,
    to_query,
)
from framehook.streams.watch import export_path
from framehook.usages import GroupBy, Usage

PAGE_LIMIT = 200


class ExportCalls:
    """Requests on the exports of a user."""

    def __init__(self, http: HttpClient) -> None:
        self._http = http

    async def create_export(
        self,
        type: str,  # noqa: A002 - its name on the wire
        config: Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
        **options: Unpack[ExportOptions],
    ) -> Export:
        """Create an export of the video that `config["input_key"]` names.

        A request whose response was lost is repeated and creates no second export; with an `idempotency_key` of your
        own, later calls with the same arguments return the same export, too.
        """
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        body = _export_body(type, config, options)
        return await self._http.load(Export, "POST", "/api/exports", body=body, headers=headers)

    async def estimate(
        self,
        type: str,  # noqa: A002 - its name on the wire
        config: Mapping[str, Any],
        *,
        source: DescribedSource | None = None,
        **options: Unpack[ExportOptions],
    ) -> Estimate:
        """Return what an export would take and become, without creating it.

        `source` describes a file that is not uploaded; `config` has no `input_key` then. Raises Problem with the `code`
        and sentence that the export would end with, if its source does not fit.
        """
        body = _export_body(type, config, options)
        if source is not None:
            body["source"] = msgspec.to_builtins(source)
        return await self._http.load(Estimate, "POST", "/api/exports/estimate", body=body)

    async def get(self, export: ExportOrId) -> Export:
        """Return the present state of an export."""
        return await self._http.load(Export, "GET", _path(export))

    async def list(self, **filters: Unpack[Filters]) -> AsyncGenerator[Export, None]:
        """Yield exports, newest first; pages are loaded as they are needed."""
        page = await self.list_page(**filters)
        while True:
            for export in page.exports:
                yield export
            if page.next_cursor is None:
                return
            page = await self.list_page(cursor=page.next_cursor, **filters)

    async def list_page(
        self, *, limit: int = PAGE_LIMIT, cursor: str | None = None, **filters: Unpack[Filters]
    ) -> Page:
        """Return one page of exports, newest first; its `next_cursor` leads to the next."""
        query = {**to_query(filters), "limit": limit, "cursor": cursor}
        return await self._http.load(Page, "GET", "/api/exports", query=query)

    async def list_active(self) -> tuple[Export, ...]:
        """Return the exports that are pending or processing."""
        return (await self._http.load(Exports, "GET", "/api/exports/active")).exports

    async def list_recent(self, *, hours: float = 24) -> tuple[Export, ...]:
        """Return the exports that are active or have ended in the last hours."""
        return (await self._http.load(Exports, "GET", "/api/exports/recent", query={"hours": hours})).exports

    async def list_unacknowledged(self) -> tuple[Export, ...]:
        """Return the exports that have ended and were not acknowledged."""
        return (await self._http.load(Exports, "GET", "/api/exports/unacknowledged")).exports

    async def acknowledge(self, exports: Iterable[ExportOrId] | None = None) -> tuple[Export, ...]:
        """Mark exports that have ended, all of them if none are given, as seen; return them."""
        body = None if exports is None else {"job_ids": [job_id_of(export) for export in exports]}
        return (await self._http.load(Exports, "POST", "/api/exports/acknowledge", body=body)).exports

    async def edit(self, export: ExportOrId, **edits: Unpack[ExportEdits]) -> Export:
        """Change the name, the metadata or the project of an export in any state; None removes what is named."""
        return await self._http.load(Export, "PATCH", _path(export), body=edits)

    async def cancel(self, export: ExportOrId) -> Export:
        """Cancel an export; raises Conflict if it has ended otherwise."""
        return await self._http.load(Export, "DELETE", _path(export))

    async def purge(self, export: ExportOrId) -> None:
        """Erase an export in any state for good: its file, its config, its timeline and what was sent of it.

        Afterwards every call for it raises Gone. An erased export may be erased again.
        """
        await self._http.request("DELETE", _path(export), query={"purge": "true"})

    async def list_uploads(self) -> AsyncGenerator[Upload, None]:
        """Yield uploaded files, newest first; pages are loaded as they are needed."""
        cursor: str | None = None
        while True:
            query = {"limit": PAGE_LIMIT, "cursor": cursor}
            page = await self._http.load(Uploads, "GET", "/api/uploads", query=query)
            for upload in page.uploads:
                yield upload
            if (cursor := page.next_cursor) is None:
                return

    async def delete_upload(self, key: str) -> None:
        """Delete an uploaded file; raises Conflict while an active export reads it."""
        await self._http.request("DELETE", f"/api/uploads/{quote(key)}")

    async def retry(self, export: ExportOrId) -> Export:
        """Start a new attempt of a failed or cancelled export; sent once, for a second would be rejected."""
        return await self._http.load(Export, "POST", f"{_path(export)}/retry", is_idempotent=False)

    async def cancel_all(
        self, exports: Iterable[ExportOrId] | None = None, **filters: Unpack[Filters]
    ) -> ChangedExports:
        """Cancel those of the given exports, or of all that pass the filters, that have not ended."""
        return await self._change_all("cancel", exports, filters)

    async def retry_all(
        self, exports: Iterable[ExportOrId] | None = None, **filters: Unpack[Filters]
    ) -> ChangedExports:
        """Start new attempts of those of the given exports, or of all that pass the filters, that did not complete.

        What can't start now is left out: its last attempt is still ending, or another export has its output key. Raises
        QuotaExceeded once a limit leaves no room for more. Requests whose responses are lost are not repeated.
        """
        return await self._change_all("retry", exports, filters)

    async def timeline(self, export: ExportOrId) -> Timeline:
        """Return how long each phase has taken so far, and what it cost."""
        headers = {"Accept": "application/json"}
        return await self._http.load(Timeline, "GET", f"{_path(export)}/events", headers=headers)

    async def usage(
        self, *, first: date | None = None, last: date | None = None, group_by: GroupBy = "day"
    ) -> Usage:
        """Return what the exports took and cost that ended from one day to another, the last 30 days by default.

        Days are in UTC and included. Operators get the totals of all users.
        """
        days = {name: day.isoformat() for name, day in (("from", first), ("to", last)) if day is not None}
        return await self._http.load(Usage, "GET", "/api/usage", query={**days, "group_by": group_by})

    async def download_url(
        self, export: ExportOrId, *, disposition: str = "attachment", expires_in: int | None = None
    ) -> DownloadUrl:
        """Return a URL of the result that needs no token, for a page or a player.

        `disposition` is `inline` to play it, `attachment` to save it; it expires after `expires_in` seconds.
        """
        body = {"disposition": disposition} | ({} if expires_in is None else {"expires_in": expires_in})
        return await self._http.load(DownloadUrl, "POST", f"{_path(export)}/download-url", body=body)

    async def _change_all(
        self, action: Literal["cancel", "retry"], exports: Iterable[ExportOrId] | None, filters: Filters
    ) -> ChangedExports:
        """Send the request until the service has looked at all exports; a call of it changes some hundreds."""
        body: dict[str, object] = to_conditions(filters)
        if exports is not None:
            body["ids"] = [job_id_of(export) for export in exports]
        path, matched, changed = f"/api/exports/{action}", 0, 0
        while True:
            try:
                page = await self._http.load(
                    ChangedExports, "POST", path, body=body, is_idempotent=action == "cancel"
                )
            except QuotaExceeded as error:
                if changed:
                    error.add_note(f"  {changed} exports were changed before")
                raise
            matched, changed = matched + page.matched, changed + page.changed
            if page.next_cursor is None:
                return ChangedExports(matched, changed)
            body["cursor"] = page.next_cursor


def _export_body(type_: str, config: Mapping[str, Any], options: ExportOptions) -> dict[str, object]:
    return {"type": type_, "config": config, **drop_none(options)}


def _path(export: ExportOrId) -> str:
    return export_path(job_id_of(export))
