"""Watch one export until it ends, or all of a user's: each yields newer states only, and misses no final one."""

from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from urllib.parse import quote

from framehook.errors import ExportCancelled, ExportFailed, Gone, NotFound
from framehook.http_client import HttpClient
from framehook.models import Export, Exports
from framehook.options import Filters, matches, to_query
from framehook.streams.stream_reader import OnDisconnect, States, StreamReader

MAX_REMEMBERED = 10_000
"""How many finished exports a watch of all remembers, to yield each end once."""


def export_path(job_id: str) -> str:
    return f"/api/exports/{quote(job_id, safe='')}"


async def watch_export(
    http: HttpClient, job_id: str, on_disconnect: OnDisconnect, deadline: float | None = None
) -> AsyncGenerator[Export, None]:
    """Yield each newer state of an export until the final one."""

    async def poll() -> States:
        return States((await http.load(Export, "GET", export_path(job_id), tries=1),))

    path = f"{export_path(job_id)}/events"
    reader = StreamReader(http, path, poll, on_disconnect=on_disconnect, deadline=deadline)
    last_sequence = 0
    async with aclosing(reader.read()) as arrivals:
        async for states in arrivals:
            for export in states.exports:
                is_refreshed = states.is_refresh and export.sequence == last_sequence
                if export.sequence > last_sequence or export.is_final or is_refreshed:
                    last_sequence = export.sequence
                    yield export
                if export.is_final:
                    return


def raise_unless_complete(export: Export) -> Export:
    """Return a final state if it is `complete`; raises ExportFailed or ExportCancelled."""
    if export.status == "complete":
        return export
    raise ExportCancelled(export) if export.status == "cancelled" else ExportFailed(export)


@dataclass
class ExportsWatch:
    """A watch of all exports of a user that pass the filters."""

    http: HttpClient
    filters: Filters
    on_disconnect: OnDisconnect
    _active: dict[str, int] = field(default_factory=dict)  # the last sequence of each
    _ended: OrderedDict[str, int] = field(default_factory=OrderedDict)

    async def states(self) -> AsyncGenerator[Export, None]:
        """Yield each newer state, without end.

        After a lost connection, an export that was active and is not listed any more is loaded, for it has ended.
        """
        reader = StreamReader(
            self.http,
            "/api/exports/events",
            self._poll,
            to_query(self.filters),
            on_disconnect=self.on_disconnect,
        )
        async with aclosing(reader.read()) as arrivals:
            async for states in arrivals:
                for export in states.exports:
                    if self._accept(export, is_refresh=states.is_refresh):
                        yield export
                if not states.is_snapshot:
                    continue
                listed_ids = {export.job_id for export in states.exports}
                for job_id in self._active.keys() - listed_ids:
                    missing = await self._load(job_id)
                    if missing is not None and self._accept(missing):
                        yield missing

    async def _poll(self) -> States:
        active = await self.http.load(Exports, "GET", "/api/exports/active", tries=1)
        recent = await self.http.load(Exports, "GET", "/api/exports/recent", tries=1)
        return States((*recent.exports, *active.exports), is_snapshot=True)

    async def _load(self, job_id: str) -> Export | None:
        try:
            return await self.http.load(Export, "GET", export_path(job_id))
        except (NotFound, Gone):
            del self._active[job_id]
            return None

    def _accept(self, export: Export, *, is_refresh: bool = False) -> bool:
        """Remember a state and tell whether it is newer than the last one, or the same one with another `queue`."""
        job_id = export.job_id
        is_known = job_id in self._active or job_id in self._ended
        if not is_known and not matches(self.filters, export):
            return False
        if is_refresh and export.sequence == self._active.get(job_id):
            return True
        if export.sequence <= max(self._active.get(job_id, 0), self._ended.get(job_id, 0)):
            return False
        self._active.pop(job_id, None)
        self._ended.pop(job_id, None)
        (self._ended if export.is_final else self._active)[job_id] = export.sequence
        if len(self._ended) > MAX_REMEMBERED:
            self._ended.popitem(last=False)
        return True
