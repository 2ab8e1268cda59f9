"""One subscriber for all streams of an export on the fast road: it encodes a state once and writes it to each."""

from collections.abc import Callable
from typing import Protocol

from service.fanout.publications import Publication, refresh_state
from service.fanout.subscribers import Encode, Feed


class Reader(Feed, Protocol):
    """A stream on the fast road."""

    def finish(self, last: Publication) -> None:
        """End the stream with the export, of which this is the last state."""
        ...


class Broadcast:
    """The streams that have the newest state, and those that are behind: these get the newest one when they can.

    All that is held for a stream that is behind is the sequence of the last state that it has, its number here, and
    that of the last refresh.
    """

    def __init__(self, encode: Encode) -> None:
        self._encode = encode
        self._newest: Publication | None = None
        self._frame = b""
        self._ready: dict[Reader, Callable[[bytes], None]] = {}
        self._blocked: dict[Reader, tuple[int, int, int]] = {}
        self._written = self._refreshes = 0
        self._refreshed_frame = b""
        self._closed = False
        self.sequence = 0
        self.stream_count = 0
        self.conflated = 0
        """How many states streams did not get, because a newer one came before they could."""

    def offer(self, publication: Publication) -> None:
        """Write the state to all streams that are not blocked, if it is newer than the last one."""
        if publication.sequence <= self.sequence:
            return
        self.sequence, self._newest = publication.sequence, publication
        self._frame = frame = self._encode(publication)
        self._refreshed_frame = b""  # of the state before
        self._written += bool(frame)
        # A stream that can't take all leaves `_ready`.
        for write in list(self._ready.values()) if frame else ():
            write(frame)
        if publication.terminal:
            self._end(list(self._ready))

    def refresh(self, refresh: Publication) -> None:
        """Write the newest state again, in which only `queue` has changed; no-op if it is of another state."""
        if self._newest is None or refresh.sequence != self.sequence:
            return
        self._newest = refresh_state(self._newest, refresh)
        self._frame, self._refreshed_frame = self._encode(self._newest), self._encode(refresh)
        self._refreshes += 1
        for write in list(self._ready.values()):
            write(self._refreshed_frame)

    def add(self, reader: Reader, first: Publication) -> None:
        """Write to a stream from now on; its client has the `first` state."""
        self.offer(first)
        self._blocked[reader] = first.sequence, self._written, self._refreshes
        self.resume(reader)

    def remove(self, reader: Reader) -> None:
        """Write no more to a stream."""
        self._ready.pop(reader, None)
        if (position := self._blocked.pop(reader, None)) is not None:
            self._count_missed(position[1])

    def pause(self, reader: Reader) -> None:
        """Keep states back until the connection has sent what it holds, the last state with it."""
        if self._ready.pop(reader, None) is not None:
            self._blocked[reader] = self.sequence, self._written, self._refreshes

    def resume(self, reader: Reader) -> None:
        """Write the newest state if the stream does not have it."""
        if reader.is_blocked or (position := self._blocked.pop(reader, None)) is None:
            return
        self._ready[reader] = reader.write
        self._count_missed(position[1])
        if position[0] < self.sequence and self._frame:
            reader.write(self._frame)
        elif position[2] < self._refreshes and self._refreshed_frame:
            reader.write(self._refreshed_frame)
        self._end([reader])

    def close(self) -> None:
        """End all streams, those that are behind once they have the newest state."""
        self._closed = True
        self._end(list(self._ready))
        self._end([reader for reader, (delivered, *_) in self._blocked.items() if delivered == self.sequence])

    def _count_missed(self, number: int) -> None:
        """Count the states since the one with this number, except the newest, which a stream gets."""
        self.conflated += max(0, self._written - number - 1)

    def _end(self, readers: list[Reader]) -> None:
        """End streams that have the newest state if it is the last one, or if the hub is closed."""
        newest = self._newest
        if newest is not None and newest.terminal:
            for reader in readers:
                reader.finish(newest)
        elif self._closed:
            for reader in readers:
                reader.close()
