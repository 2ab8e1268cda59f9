"""Calls on batches for programs without an event loop."""

from collections.abc import Generator, Mapping, Sequence

from framehook.batches.async_batches import AsyncBatches, BatchOrId, NewExport, OnBatch
from framehook.batches.models import Batch
from framehook.options import MetadataValue, ignore
from framehook.streams.stream_reader import OnDisconnect
from framehook.transports.blocking import iterate, run


class Batches:
    """The batches of the user; each method does what that of `AsyncBatches` does."""

    def __init__(self, batches: AsyncBatches) -> None:
        self._client = batches

    def create(
        self,
        exports: Sequence[NewExport],
        *,
        name: str | None = None,
        metadata: Mapping[str, MetadataValue] | None = None,
        idempotency_key: str | None = None,
    ) -> Batch:
        """Create up to 1,000 exports together: all of them, or none."""
        return run(
            self._client.create(exports, name=name, metadata=metadata, idempotency_key=idempotency_key)
        )

    def get(self, batch: BatchOrId) -> Batch:
        """Return the present totals of a batch."""
        return run(self._client.get(batch))

    def list(self) -> Generator[Batch, None, None]:
        """Yield batches, newest first; pages are loaded as they are needed."""
        return iterate(self._client.list())

    def watch(
        self, batch: BatchOrId, *, on_disconnect: OnDisconnect = ignore
    ) -> Generator[Batch, None, None]:
        """Yield a batch whenever it has changed, until all of its exports have ended."""
        return iterate(self._client.watch(batch, on_disconnect=on_disconnect))

    def wait(
        self, batch: BatchOrId, *, timeout_seconds: float | None = None, on_state: OnBatch = ignore
    ) -> Batch:
        """Wait until all exports of a batch have ended, and return it; its `counts` say how they ended."""
        return run(self._client.wait(batch, timeout_seconds=timeout_seconds, on_state=on_state))

    def cancel(self, batch: BatchOrId) -> Batch:
        """Cancel all exports of a batch that have not ended."""
        return run(self._client.cancel(batch))

    def purge(self, batch: BatchOrId) -> None:
        """Erase a batch and its exports, in any state, for good; an erased one may be erased again."""
        run(self._client.purge(batch))
