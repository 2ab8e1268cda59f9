"""Calls on batches: many exports that are created, watched, cancelled and erased together."""

import time
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Required

from framehook.batches.batch_watch import BatchWatch, batch_path
from framehook.batches.models import Batch, BatchPage
from framehook.http_client import HttpClient
from framehook.options import ExportOptions, MetadataValue, drop_none, ignore
from framehook.streams.stream_reader import OnDisconnect

PAGE_LIMIT = 100

BatchOrId = Batch | str
"""A batch, or its `batch_id`."""
OnBatch = Callable[[Batch], object]


class NewExport(ExportOptions, total=False):
    """An export of a new batch: its type, its config with `input_key`, and the options of `create_export`."""

    type: Required[str]
    config: Required[Mapping[str, Any]]


class AsyncBatches:
    """The batches of the user."""

    def __init__(self, http: HttpClient) -> None:
        self._http = http

    async def create(
        self,
        exports: Sequence[NewExport],
        *,
        name: str | None = None,
        metadata: Mapping[str, MetadataValue] | None = None,
        idempotency_key: str | None = None,
    ) -> Batch:
        """Create up to 1,000 exports together: all of them, or none.

        Only this answer has `exports`, the id of each. An error names an export by its index. A request whose response
        was lost is repeated and creates no second batch; with an `idempotency_key` of your own, later calls with the
        same arguments return the same batch, too.
        """
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        labels = drop_none({"name": name, "metadata": metadata})
        body = {**labels, "exports": [drop_none(export) for export in exports]}
        return await self._http.load(Batch, "POST", "/api/batches", body=body, headers=headers)

    async def get(self, batch: BatchOrId) -> Batch:
        """Return the present totals of a batch."""
        return await self._http.load(Batch, "GET", _path(batch))

    async def list(self) -> AsyncGenerator[Batch, None]:
        """Yield batches, newest first; pages are loaded as they are needed."""
        cursor: str | None = None
        while True:
            query = {"limit": PAGE_LIMIT, "cursor": cursor}
            page = await self._http.load(BatchPage, "GET", "/api/batches", query=query)
            for batch in page.batches:
                yield batch
            if (cursor := page.next_cursor) is None:
                return

    async def watch(
        self, batch: BatchOrId, *, on_disconnect: OnDisconnect = ignore
    ) -> AsyncGenerator[Batch, None]:
        """Yield a batch whenever it has changed, until all of its exports have ended.

        Asks every two seconds. Goes on after lost connections and restarts of the service, and calls `on_disconnect`
        with the reason of each failed request.
        """
        async with aclosing(BatchWatch(self._http, batch_id_of(batch), on_disconnect).states()) as states:
            async for state in states:
                yield state

    async def wait(
        self, batch: BatchOrId, *, timeout_seconds: float | None = None, on_state: OnBatch = ignore
    ) -> Batch:
        """Wait until all exports of a batch have ended, and return it; its `counts` say how they ended.

        `on_state` is called whenever it has changed. Raises TimeoutError, after which the exports are still running.
        """
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        async with aclosing(BatchWatch(self._http, batch_id_of(batch), ignore, deadline).states()) as states:
            async for state in states:
                on_state(state)
        return state

    async def cancel(self, batch: BatchOrId) -> Batch:
        """Cancel all exports of a batch that have not ended."""
        return await self._http.load(Batch, "DELETE", _path(batch))

    async def purge(self, batch: BatchOrId) -> None:
        """Erase a batch and its exports, in any state, for good; an erased one may be erased again."""
        await self._http.request("DELETE", _path(batch), query={"purge": "true"})


def batch_id_of(batch: BatchOrId) -> str:
    return batch.batch_id if isinstance(batch, Batch) else batch


def _path(batch: BatchOrId) -> str:
    return batch_path(batch_id_of(batch))
